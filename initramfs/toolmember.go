package initramfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"
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
	s, err := b.store("tools")
	if err != nil {
		return member{}, err
	}
	switch r.ToolsFrom {
	case FromDebian, "":
		return b.debianTools(ctx, s, table, wanted)
	case FromHost:
		return b.hostTools(ctx, s, table, wanted)
	}
	return member{}, fmt.Errorf("guest tools from %q: only %q and %q are known", r.ToolsFrom, FromDebian, FromHost)
}

func toolsKey(from string, wanted []string) string {
	return keyOf(append([]string{recipe, from, hexSum(toolsYAML), hexSum(lvmConf)}, wanted...)...)
}

func stockName(table toolTable) string {
	return table.Suite + "-" + keyOf(recipe, hexSum(toolsYAML))[:16]
}

// debianTools takes the wanted tools out of the one archive that has all of
// them. So all scenarios run the same versions, and once that archive is
// there, none needs the network.
func (b *Builder) debianTools(ctx context.Context, s store, table toolTable, wanted []string) (member, error) {
	return b.ensure(ctx, s, toolsKey(FromDebian, wanted), keepTools, func(w io.Writer) ([]string, error) {
		all, err := b.debianStock(ctx, table)
		if err != nil {
			return nil, err
		}
		data, err := os.ReadFile(all.path)
		if err != nil {
			return nil, fmt.Errorf("read guest tools: %w", err)
		}
		var files, sources []string
		for _, name := range wanted {
			files = append(files, all.Tools[name].Files...)
			sources = append(sources, all.Tools[name].Sources...)
		}
		t, err := pick(data, files)
		if err != nil {
			return nil, fmt.Errorf("read guest tools: %w", err)
		}
		if err := table.configure(t, wanted); err != nil {
			return nil, err
		}
		slices.Sort(sources)
		return slices.Compact(sources), t.write(w)
	})
}

// A toolRecord says which files of a stock make up a tool.
type toolRecord struct {
	Files   []string `json:"files"`
	Sources []string `json:"sources"`
}

// stock is the archive with all tools of a suite, and its record.
type stock struct {
	path  string
	Bytes int64                 `json:"bytes"`
	Tools map[string]toolRecord `json:"tools"`
}

// debianStock returns the archive of all Debian's tools, fetched if need be.
func (b *Builder) debianStock(ctx context.Context, table toolTable) (all stock, err error) {
	s, err := b.store("debian")
	if err != nil {
		return stock{}, err
	}
	name := stockName(table)
	find := func() bool {
		all = stock{path: s.path(name + ".cpio")}
		if !s.readJSON(name+".json", &all) {
			return false
		}
		fi, err := os.Stat(all.path)
		return err == nil && fi.Size() == all.Bytes
	}
	if find() {
		return all, s.use(name + ".cpio")
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return stock{}, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if find() {
		return all, nil
	}
	b.log().Info("fetching guest tools", "suite", table.Suite, "tools", strings.Join(table.names(), " "))
	// The package lists and packages aren't needed again.
	state, err := os.MkdirTemp(s.dir, tempPrefix)
	if err != nil {
		return stock{}, fmt.Errorf("make temporary folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(state)) }()
	root, err := b.openDebian(ctx, state, table)
	if err != nil {
		return stock{}, err
	}
	all = stock{path: s.path(name + ".cpio"), Tools: make(map[string]toolRecord)}
	var t tree
	for _, tool := range table.names() {
		f, err := collect(ctx, root, tool, table.Tools[tool])
		if err != nil {
			return stock{}, err
		}
		if err := t.merge(f.tree); err != nil {
			return stock{}, err
		}
		all.Tools[tool] = toolRecord{Files: slices.Sorted(maps.Keys(f.tree.records)), Sources: f.sources}
	}
	err = s.create(name+".cpio", func(w io.Writer) error {
		n := &countWriter{w: w}
		err := t.write(n)
		all.Bytes = n.n
		return err
	})
	if err != nil {
		return stock{}, err
	}
	if err := s.createJSON(name+".json", all); err != nil {
		return stock{}, err
	}
	return all, s.keep(keepStocks, ".cpio")
}

// pick returns the tree of these files of the cpio archive data.
func pick(data []byte, files []string) (*tree, error) {
	recs, err := cpio.ReadAllRecords(cpio.Newc.Reader(bytes.NewReader(data)))
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

// A hostRecord remembers what the host's files were when a member was made.
type hostRecord struct {
	Key  string            `json:"key"`
	Seen map[string]fileID `json:"seen"`
}

func (r hostRecord) unchanged() bool {
	for path, id := range r.Seen {
		if now, err := statID(path); err != nil || now != id {
			return false
		}
	}
	return len(r.Seen) > 0
}

func (b *Builder) hostTools(ctx context.Context, s store, table toolTable, wanted []string) (m member, err error) {
	name := toolsKey(FromHost, wanted) + ".host"
	var rec hostRecord
	if s.readJSON(name, &rec) && rec.unchanged() {
		if m, ok := s.find(rec.Key); ok {
			return m, s.use(rec.Key + ".cpio")
		}
	}
	root := newHostFS("/")
	var t tree
	var sources []string
	for _, tool := range wanted {
		f, err := collect(ctx, root, tool, table.Tools[tool])
		if err != nil {
			return member{}, err
		}
		if err := t.merge(f.tree); err != nil {
			return member{}, err
		}
		sources = append(sources, f.sources...)
	}
	if err := table.configure(&t, wanted); err != nil {
		return member{}, err
	}
	slices.Sort(sources)
	var data bytes.Buffer
	if err := t.write(&data); err != nil {
		return member{}, err
	}
	rec = hostRecord{Key: keyOf(recipe, FromHost, hexSum(data.Bytes())), Seen: root.seen}
	m, err = b.ensure(ctx, s, rec.Key, keepTools, func(w io.Writer) ([]string, error) {
		_, err := w.Write(data.Bytes())
		return slices.Compact(sources), err
	})
	if err != nil {
		return member{}, err
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return member{}, err
	}
	return m, errors.Join(s.createJSON(name, rec), unlock())
}
