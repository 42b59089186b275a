package scenarios

import (
	"embed"
)

// Shipped are the scenarios that ship with blockrig, as they are written.
//
//go:embed *.yaml
var Shipped embed.FS
