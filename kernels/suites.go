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
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/blockrig/blockrig/kernels/debian"
)

//go:embed debian.yaml
var debianYAML []byte

// debianConfig is the content of debian.yaml.
type debianConfig struct {
	Suites         []suite `yaml:"suites"`
	Without        []suite `yaml:"without"`
	Mirror         string  `yaml:"mirror"`
	SecurityMirror string  `yaml:"security_mirror"`
	Snapshot       string  `yaml:"snapshot"`
	Keyring        string  `yaml:"keyring"`
}

// A suite is one of Debian's, as it is ("sid") or as it was ("{suite: sid,
// at: 20261120T000000Z}").
type suite struct {
	Name string
	At   string // "" is now
}

var timeRE = regexp.MustCompile(`^[0-9]{8}T[0-9]{6}Z$`)

// UnmarshalYAML implements yaml.Unmarshaler.
func (s *suite) UnmarshalYAML(n *yaml.Node) error {
	s.Name = n.Value
	if n.Kind == yaml.MappingNode {
		for i := 0; i < len(n.Content); i += 2 {
			switch key, value := n.Content[i], n.Content[i+1].Value; key.Value {
			case "suite":
				s.Name = value
			case "at":
				s.At = value
			default:
				return fmt.Errorf("line %d: %q is no key of a suite; want {suite: NAME, at: TIME}", key.Line, key.Value)
			}
		}
		if !timeRE.MatchString(s.At) {
			return fmt.Errorf("line %d: %q is no time; want one such as 20261120T000000Z", n.Line, s.At)
		}
	}
	if !suiteRE.MatchString(s.Name) {
		return fmt.Errorf("line %d: %q is no name of a suite", n.Line, s.Name)
	}
	return nil
}

// Archive says how Debian's packages are had by the configuration: from which
// mirrors, and with which keyring. It names no suites. file is the user's
// configuration, which need not be there.
func Archive() (cfg debian.Config, file string, err error) {
	c, file, err := debianConfiguration()
	return debian.Config{Mirror: c.Mirror, SecurityMirror: c.SecurityMirror, Snapshot: c.Snapshot, Keyring: c.Keyring}, file, err
}

// debianConfiguration reads the configuration, and says where the user's is.
func debianConfiguration() (cfg debianConfig, file string, err error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return cfg, "", fmt.Errorf("find the user's configuration: %w", err)
	}
	file = filepath.Join(dir, "blockrig", "debian.yaml")
	cfg, err = loadDebianConfig(file)
	return cfg, file, err
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
	cfg.Suites = slices.DeleteFunc(cfg.Suites, func(s suite) bool {
		return slices.ContainsFunc(user.Without, func(without suite) bool { return without == s || without == suite{Name: s.Name} })
	})
	if !slices.ContainsFunc(cfg.Suites, func(s suite) bool { return s.At == "" }) {
		return cfg, fmt.Errorf("%s: no suite is left to look into", file)
	}
	for _, o := range []struct{ into, value *string }{
		{&cfg.Mirror, &user.Mirror}, {&cfg.SecurityMirror, &user.SecurityMirror}, {&cfg.Snapshot, &user.Snapshot}, {&cfg.Keyring, &user.Keyring},
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
		return cfg, fmt.Errorf("%s (keys are suites, without, mirror, security_mirror, snapshot, keyring)", place(file, types.Errors[0]))
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
	return cfg, nil
}

// place makes "line 3: what" into "file:3: what".
func place(file, text string) string {
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		return file + ":" + rest
	}
	return file + ": " + text
}
