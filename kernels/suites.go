package kernels

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

//go:embed debian.yaml
var debianYAML []byte

// debianConfig is the content of debian.yaml.
type debianConfig struct {
	Suites         []string `yaml:"suites"`
	Without        []string `yaml:"without"`
	Mirror         string   `yaml:"mirror"`
	SecurityMirror string   `yaml:"security_mirror"`
	Keyring        string   `yaml:"keyring"`
}

// debianConfigFile is where the user's debian.yaml is.
func debianConfigFile() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("find the user's configuration: %w", err)
	}
	return filepath.Join(dir, "blockrig", "debian.yaml"), nil
}

// loadDebianConfig merges the user's file, if there is one, on top of the
// embedded one.
func loadDebianConfig(file string) (debianConfig, error) {
	cfg, err := decodeDebianConfig("debian.yaml", debianYAML)
	if err != nil {
		return cfg, err
	}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return cfg, nil
	}
	if err != nil {
		return cfg, fmt.Errorf("read configuration: %w", err)
	}
	user, err := decodeDebianConfig(file, data)
	if err != nil {
		return cfg, err
	}
	for _, suite := range user.Suites {
		if !slices.Contains(cfg.Suites, suite) {
			cfg.Suites = append(cfg.Suites, suite)
		}
	}
	cfg.Suites = slices.DeleteFunc(cfg.Suites, func(suite string) bool { return slices.Contains(user.Without, suite) })
	if len(cfg.Suites) == 0 {
		return cfg, fmt.Errorf("%s: no suite is left to look into", file)
	}
	for _, o := range []struct{ into, value *string }{
		{&cfg.Mirror, &user.Mirror}, {&cfg.SecurityMirror, &user.SecurityMirror}, {&cfg.Keyring, &user.Keyring},
	} {
		if *o.value != "" {
			*o.into = *o.value
		}
	}
	return cfg, nil
}

// decodeDebianConfig decodes strictly; errors name the file and the line.
func decodeDebianConfig(file string, data []byte) (debianConfig, error) {
	var cfg debianConfig
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	var types *yaml.TypeError
	err := dec.Decode(&cfg)
	switch {
	case errors.Is(err, io.EOF): // nothing but comments
		return cfg, nil
	case errors.As(err, &types):
		return cfg, fmt.Errorf("%s (keys are suites, without, mirror, security_mirror, keyring)", place(file, types.Errors[0]))
	case err != nil:
		return cfg, errors.New(place(file, strings.TrimPrefix(err.Error(), "yaml: ")))
	}
	var node yaml.Node
	if err := dec.Decode(&node); !errors.Is(err, io.EOF) {
		if err != nil {
			return cfg, errors.New(place(file, strings.TrimPrefix(err.Error(), "yaml: ")))
		}
		return cfg, fmt.Errorf("%s:%d: a second document; only one is read", file, node.Line)
	}
	return cfg, checkSuites(file, data)
}

// checkSuites refuses what is no name of a suite, at its line.
func checkSuites(file string, data []byte) error {
	var doc struct{ Suites, Without []yaml.Node }
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for _, n := range append(doc.Suites, doc.Without...) {
		if !suiteRE.MatchString(n.Value) {
			return fmt.Errorf("%s:%d: %q is no name of a suite", file, n.Line, n.Value)
		}
	}
	return nil
}

// place makes "line 3: what" into "file:3: what".
func place(file, text string) string {
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		return file + ":" + rest
	}
	return file + ": " + text
}
