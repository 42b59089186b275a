package layer

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/blockrig/blockrig/scenarios"
)

var _ = register("crypt", func(l scenarios.Layer) kind { return crypt{l.Crypt} })

// crypt is an encrypted device.
type crypt struct{ *scenarios.Crypt }

// cryptKey is the key of all encrypted devices: there is nothing to hide.
const cryptKey = "/run/blockrig.key"

func writeCryptKey() error {
	return os.WriteFile(cryptKey, []byte(strings.Repeat("blockrig", 8)), 0o600)
}

func (c crypt) build(h Host, p *Part) error {
	b, err := p.below()
	if err != nil {
		return err
	}
	if err := writeCryptKey(); err != nil {
		return err
	}
	cryptsetup := func(args ...string) error {
		_, err := h.Tool("cryptsetup", append([]string{"--batch-mode", "--key-file", cryptKey}, args...)...)
		return err
	}
	size := strconv.Itoa(max(512, c.SectorSize))
	if c.Type == "plain" {
		// The cipher is named: its default changed with cryptsetup 2.7.
		err = cryptsetup(slices.Concat([]string{"open", "--type", "plain", "--cipher", "aes-xts-plain64", "--key-size", "512", "--sector-size", size}, c.Args, []string{b.Node(), p.Name})...)
	} else {
		// A key that is derived at once: nobody attacks it.
		args := []string{"luksFormat", "--type", "luks2", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--sector-size", size}
		if c.Integrity != "" {
			args = append(args, "--integrity", c.Integrity)
		}
		if err = cryptsetup(slices.Concat(args, c.Format, []string{b.Node()})...); err == nil {
			err = cryptsetup(slices.Concat([]string{"open"}, c.Args, []string{b.Node(), p.Name})...)
		}
	}
	if err != nil {
		return err
	}
	p.Device, err = dmByName(p.Name)
	return err
}

func (c crypt) prove(p *Part) ([]string, error) {
	t, err := p.target()
	if err != nil {
		return nil, err
	}
	if t.kind != "crypt" {
		return nil, fmt.Errorf("the table has a %s target, not crypt", t.kind)
	}
	if n := strconv.Itoa(c.SectorSize); c.SectorSize > 512 && !strings.Contains(t.params, "sector_size:"+n) {
		return nil, fmt.Errorf("its sectors have not %s bytes: %s", n, t.hideKey())
	}
	if c.Integrity != "" && !strings.Contains(t.params, "integrity:") {
		return nil, fmt.Errorf("it is without integrity: %s", t.hideKey())
	}
	on, err := p.liesOn()
	if err != nil {
		return nil, err
	}
	return []string{on, "dm table: " + t.hideKey()}, nil
}

func (c crypt) table(p *Part) (string, error) {
	t, err := p.target()
	return t.hideKey(), err
}

// hideKey is the line without the key, which says nothing and differs each
// time.
func (t dmTarget) hideKey() string {
	if f := strings.Fields(t.params); t.kind == "crypt" && len(f) > 1 {
		f[1] = "-"
		t.params = strings.Join(f, " ")
	}
	return t.String()
}

func (c crypt) act(h Host, s *Stack, p *Part, a scenarios.Act) error {
	switch a.Do {
	case "stop":
		_, err := h.Tool("cryptsetup", "close", p.Name)
		return err
	case "assemble":
		return c.assemble(h, p)
	}
	return dmAct(h, s, p, p.Name, a)
}

func (c crypt) assemble(h Host, p *Part) error {
	b, err := p.below()
	if err != nil {
		return err
	}
	if err := writeCryptKey(); err != nil {
		return err
	}
	args := []string{"--batch-mode", "--key-file", cryptKey, "open"}
	if c.Type == "plain" {
		args = append(args, "--type", "plain", "--cipher", "aes-xts-plain64", "--key-size", "512", "--sector-size", strconv.Itoa(max(512, c.SectorSize)))
	}
	if _, err := h.Tool("cryptsetup", slices.Concat(args, c.Args, []string{b.Node(), p.Name})...); err != nil {
		return err
	}
	if p.Device, err = dmByName(p.Name); err != nil {
		return err
	}
	p.Path = p.Node()
	return p.liesOnAny()
}
