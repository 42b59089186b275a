package main

import (
	"context"
	"os"
	"path"
	"path/filepath"

	"gopkg.in/yaml.v3"
)

const maintainer = "The authors of blockrig <blockrig@users.noreply.github.com>"

// needs are the packages that blockrig needs, and those without which it can do
// less, by the names of each distribution's.
type needs struct {
	Depends    []string `yaml:"depends"`
	Recommends []string `yaml:"recommends"`
	Suggests   []string `yaml:"suggests"`
}

var (
	debian = needs{
		Depends:    []string{"qemu-system-x86"},
		Recommends: []string{"ca-certificates", "git"},
		Suggests:   []string{"bc", "bison", "ccache", "flex", "gcc", "golang-go", "libc6-dev", "libelf-dev", "make"},
	}
	fedora = needs{
		Depends:    []string{"qemu-system-x86-core"},
		Recommends: []string{"e2fsprogs", "git-core", "lvm2", "mdadm"},
		Suggests:   []string{"bc", "bison", "ccache", "elfutils-libelf-devel", "flex", "gcc", "golang", "make"},
	}
)

// A content is a file of a package, as nfpm is told of it.
type content struct {
	From string   `yaml:"src"`
	To   string   `yaml:"dst"`
	Info fileInfo `yaml:"file_info"`
}

type fileInfo struct {
	Mode  os.FileMode `yaml:"mode"`
	Owner string      `yaml:"owner"`
	Group string      `yaml:"group"`
}

// packages has nfpm make both packages. It is pinned in a go.mod of its own,
// so that those who only build blockrig don't fetch it.
func (b build) packages(ctx context.Context, files []file, work, out string) error {
	for _, p := range []struct {
		kind, name string
		needs      needs
	}{
		{"deb", "blockrig_" + b.version + "_amd64.deb", debian},
		{"rpm", "blockrig-" + b.version + "-1.x86_64.rpm", fedora},
	} {
		config, err := yaml.Marshal(b.config(p.kind, p.needs, files))
		if err != nil {
			return err
		}
		path := filepath.Join(work, p.kind+".yaml")
		if err := os.WriteFile(path, config, 0o644); err != nil {
			return err
		}
		if _, err := b.run(ctx, "go", "tool", "-modfile=contrib/release/nfpm.mod", "nfpm", "package",
			"--config", path, "--packager", p.kind, "--target", filepath.Join(out, p.name)); err != nil {
			return err
		}
	}
	return nil
}

// config is nfpm's for one kind of package.
func (b build) config(kind string, n needs, files []file) map[string]any {
	var contents []content
	for _, f := range files {
		if f.only == "" || f.only == kind {
			contents = append(contents, content{f.from, path.Join("/usr", f.to), fileInfo{f.mode, "root", "root"}})
		}
	}
	config := map[string]any{
		"name": "blockrig", "arch": "amd64", "platform": "linux",
		"version": b.version, "version_schema": "none",
		"section": "utils", "priority": "optional", "maintainer": maintainer,
		"homepage": "https://github.com/blockrig/blockrig", "license": "Apache-2.0",
		"description":      description,
		"disable_globbing": true,
		"mtime":            b.made,
		"depends":          n.Depends, "recommends": n.Recommends, "suggests": n.Suggests,
		"contents": contents,
		"scripts": map[string]string{
			"postinstall": "contrib/release/postinstall",
			"preremove":   "contrib/release/preremove",
			"postremove":  "contrib/release/postremove",
		},
		"deb": map[string]any{"compression": "gzip"},
		"rpm": map[string]any{
			"compression": "gzip", "buildhost": "localhost", "group": "Unspecified",
			"summary": summary, "packager": maintainer,
		},
	}
	if kind == "rpm" {
		config["release"] = "1"
	}
	return config
}

const (
	summary     = "kernel regression harness for the block layer"
	description = summary + `
blockrig boots chosen Linux kernels in QEMU with emulated disks, builds a
storage stack in the guest (md, LVM, device mapper, file systems), does I/O
to it, lets disks fail, and judges what happened. It also finds the release
or the commit in which the outcome changed. No disk of the host is touched.
`
)
