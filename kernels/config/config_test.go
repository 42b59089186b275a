package config

import (
	"slices"
	"strings"
	"testing"
)

func TestFragmentsThatShip(t *testing.T) {
	if !slices.Contains(Names(), "base") {
		t.Fatalf("fragments %v", Names())
	}
	for _, name := range Names() {
		wants, err := Read([]string{name})
		if err != nil || len(wants) == 0 {
			t.Errorf("%s: %d options, %v", name, len(wants), err)
		}
	}
	if _, err := Read(Names()); err != nil {
		t.Errorf("all together: %v", err)
	}
	wants, err := Read(Default())
	if err != nil {
		t.Fatal(err)
	}
	if lost := Lost(wants, Text(wants)); len(lost) > 0 {
		t.Errorf("the fragments don't fulfil themselves: %v", lost)
	}
}

func TestAlternatives(t *testing.T) {
	wants, err := Parse("x.config", "# about\nCONFIG_A=y\n# or CONFIG_B=y\n\nCONFIG_C=\"\"\nCONFIG_D=n\n# CONFIG_E is not set\nCONFIG_F=0x1\n")
	if err != nil {
		t.Fatal(err)
	}
	rest := "CONFIG_C=\"\"\nCONFIG_F=0x1\n"
	for dotConfig, want := range map[string][]string{
		"CONFIG_A=y\n" + rest:                 nil,
		"CONFIG_B=y\n" + rest:                 nil,
		"CONFIG_A=m\n" + rest:                 {"CONFIG_A=y or CONFIG_B=y"},
		rest + "CONFIG_D=y\nCONFIG_A=y\n":     {"CONFIG_D=n"},
		rest + "CONFIG_E=m\nCONFIG_A=y\n":     {"CONFIG_E=n"},
		"# CONFIG_D is not set\nCONFIG_A=y\n": {`CONFIG_C=""`, "CONFIG_F=0x1"},
	} {
		var lost []string
		for _, w := range Lost(wants, dotConfig) {
			lost = append(lost, w.String())
		}
		if !slices.Equal(lost, want) {
			t.Errorf("%q: lost %v, want %v", dotConfig, lost, want)
		}
	}
}

func TestFragmentErrorsSayWhere(t *testing.T) {
	for text, want := range map[string]string{
		"CONFIG_A=y\nCONFIG_B\n":   "x.config:2:",
		"A=y\n":                    "x.config:1:",
		"CONFIG_A=$(shell id)\n":   "x.config:1:",
		"# or CONFIG_A=y\n":        "alternative to nothing",
		"CONFIG_A=\"a\\\"b\"\n":    "x.config:1:",
		"CONFIG_A=y\n# or what?\n": "x.config:2:",
	} {
		if _, err := Parse("x.config", text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := Read([]string{"../base"}); err == nil || !strings.Contains(err.Error(), "there are ahci, base") {
		t.Error(err)
	}
	if err := conflict([]Want{{Any: []Setting{{"CONFIG_A", "y"}}, Fragment: "a", Line: 1}, {Any: []Setting{{"CONFIG_A", "n"}}, Fragment: "b", Line: 2}}); err == nil || !strings.Contains(err.Error(), "b:2 asks for CONFIG_A=n, but a:1") {
		t.Error(err)
	}
}
