package initramfs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"

	"github.com/blockrig/blockrig/kernels/debian"
)

// toolsFrom tells where guest tools come from, for what a Request asks for.
// That they are the host's, since nobody chose that, is said once.
func (b *Builder) toolsFrom(ctx context.Context, asked string, table toolTable) string {
	switch asked {
	case "":
		return FromDebian
	case FromAuto:
	default:
		return asked
	}
	b.auto.Do(func() {
		b.autoFrom = FromDebian
		cfg, err := b.debian(table)
		if err == nil {
			err = debian.Check(ctx, cfg)
		}
		if errors.Is(err, debian.ErrNoApt) || errors.Is(err, debian.ErrNoMirror) { // anything else is said when they are fetched
			b.autoFrom = FromHost
			b.log().Warn("the guest's tools are this host's, since Debian's can't be fetched", "reason", err)
		}
	})
	return b.autoFrom
}

// NotOnHost gives the guest tools that this host does not have, and the
// packages that have them by Debian's names.
func NotOnHost() (tools, packages []string, err error) {
	table, err := readToolTable()
	if err != nil {
		return nil, nil, err
	}
next:
	for _, name := range table.names() {
		for _, dir := range hostToolDirs {
			if _, err := os.Stat(path.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
				continue next
			}
		}
		tools, packages = append(tools, name), append(packages, table.Tools[name].Package)
	}
	return tools, packages, nil
}
