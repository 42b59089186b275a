package scenarios

import (
	"embed"
)

// Shipped are the scenarios that ship with blockrig, as they are written.
//
//go:embed *.yaml
var Shipped embed.FS

// Known lists bugs that a hunt recognises; see package hunt. It is no scenario.
//
//go:embed known.yaml
var Known []byte

// KnownFile is its name among the shipped files.
const KnownFile = "known.yaml"

// Schema is the JSON Schema of a scenario's file, for editors. A test of package
// language makes it of the tags.
//
//go:embed schema.json
var Schema []byte
