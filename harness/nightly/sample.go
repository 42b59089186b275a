package nightly

import _ "embed"

// Sample is a config to begin with.
//
//go:embed sample.yaml
var Sample string
