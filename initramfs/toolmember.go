package initramfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/blockrig/blockrig/harness/cachedir"
)

// tools makes the member with the guest tools.
func (b *Builder) tools(ctx context.Context, r Request) (member, error) {
	table, err := readToolTable()
	if err != nil {
		return member{}, err
	}
	wanted, err := table.check(r.Tools)
	if err != nil {
		return member{}, err
	}
	d, err := b.dir("tools", keepTools)
	if err != nil {
		return member{}, err
	}
	switch b.toolsFrom(ctx, r.ToolsFrom, table) {
	case FromDebian:
		return b.ensure(ctx, d, toolsKey(FromDebian, wanted), func(ctx context.Context, w archiveWriter) error {
			return b.debianTools(ctx, w, table, wanted)
		})
	case FromHost:
		return b.ensure(ctx, d, toolsKey(FromHost, wanted), func(ctx context.Context, w archiveWriter) error {
			return hostTools(ctx, w, newHostFS("/"), table, wanted)
		})
	}
	return member{}, fmt.Errorf("guest tools from %q: only %q, %q and %q are known", r.ToolsFrom, FromAuto, FromDebian, FromHost)
}

func toolsKey(from string, wanted []string) string {
	return keyOf(append([]string{recipe, from, hexSum(toolsYAML), hexSum(lvmConf)}, wanted...)...)
}

func allToolsKey(table toolTable) string {
	return table.Suite + "-" + keyOf(recipe, hexSum(toolsYAML))[:16]
}

// debianTools takes the wanted tools out of the one archive that has all of
// them. So all scenarios run the same versions, and once that archive is
// there, none needs the network.
func (b *Builder) debianTools(ctx context.Context, w archiveWriter, table toolTable, wanted []string) (err error) {
	e, all, err := b.allDebianTools(ctx, table)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	f, err := os.Open(filepath.Join(e.Path(), archiveFile))
	if err != nil {
		return fmt.Errorf("read guest tools: %w", err)
	}
	defer f.Close()
	var files []string
	for _, name := range wanted {
		files = append(files, all[name].Files...)
		w.m.Sources = append(w.m.Sources, all[name].Sources...)
	}
	t, err := pick(f, files)
	if err != nil {
		return fmt.Errorf("read guest tools: %w", err)
	}
	return finishTools(w, t, table, wanted)
}

// finishTools writes the tools with their configuration.
func finishTools(w archiveWriter, t *tree, table toolTable, wanted []string) error {
	if err := table.configure(t, wanted); err != nil {
		return err
	}
	slices.Sort(w.m.Sources)
	w.m.Sources = slices.Compact(w.m.Sources)
	return t.write(w)
}

// A toolRecord says which files of that archive make up a tool.
type toolRecord struct {
	Files   []string `json:"files"`
	Sources []string `json:"sources"`
}

// allDebianTools gives the archive of all Debian's tools, fetched if need be, and
// what each tool has in it.
func (b *Builder) allDebianTools(ctx context.Context, table toolTable) (*cachedir.Entry, map[string]toolRecord, error) {
	d, err := b.dir("debian", keepAllTools)
	if err != nil {
		return nil, nil, err
	}
	e, err := d.Get(ctx, allToolsKey(table), func(ctx context.Context, dir string) error { return b.fetchAllTools(ctx, dir, table) })
	if err != nil {
		return nil, nil, err
	}
	var all map[string]toolRecord
	if err := readRecord(e, &all); err != nil {
		return nil, nil, errors.Join(err, e.Close())
	}
	return e, all, nil
}

func (b *Builder) fetchAllTools(ctx context.Context, dir string, table toolTable) (err error) {
	b.log().Info("fetching guest tools", "suite", table.Suite, "tools", strings.Join(table.names(), " "))
	// The package lists and packages aren't needed again.
	state, err := os.MkdirTemp(dir, "apt-")
	if err != nil {
		return fmt.Errorf("make temporary folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(state)) }()
	root, err := b.openDebian(ctx, state, table)
	if err != nil {
		return err
	}
	all := make(map[string]toolRecord)
	var t tree
	for _, tool := range table.names() {
		f, err := collect(ctx, root, tool, table.Tools[tool])
		if err != nil {
			return err
		}
		if err := t.merge(f.tree); err != nil {
			return err
		}
		all[tool] = toolRecord{Files: slices.Sorted(maps.Keys(f.tree.records)), Sources: f.sources}
	}
	f, err := os.Create(filepath.Join(dir, archiveFile))
	if err != nil {
		return err
	}
	if err := errors.Join(t.write(f), f.Close()); err != nil {
		return err
	}
	return writeRecord(dir, all)
}

// pick returns the tree of these files of a cpio archive, which is read when
// the tree is written.
func pick(archive io.ReaderAt, files []string) (*tree, error) {
	recs, err := cpio.ReadAllRecords(cpio.Newc.Reader(archive))
	if err != nil {
		return nil, err
	}
	byName := make(map[string]cpio.Record, len(recs))
	for _, r := range recs {
		byName[r.Name] = r
	}
	var t tree
	for _, name := range files {
		r, ok := byName[name]
		if !ok {
			return nil, fmt.Errorf("the archive has no /%s", name)
		}
		if err := t.add(r); err != nil {
			return nil, err
		}
	}
	return &t, nil
}

// hostTools takes the tools from this host, and remembers what its files were.
func hostTools(ctx context.Context, w archiveWriter, root *hostFS, table toolTable, wanted []string) error {
	var t tree
	for _, tool := range wanted {
		f, err := collect(ctx, root, tool, table.Tools[tool])
		if err != nil {
			return err
		}
		if err := t.merge(f.tree); err != nil {
			return err
		}
		w.m.Sources = append(w.m.Sources, f.sources...)
	}
	w.m.Seen = root.seen
	return finishTools(w, &t, table, wanted)
}
