package gitbuild

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/kernels/config"
	"github.com/blockrig/blockrig/kernels/gitbuild/gitcmd"
	"github.com/blockrig/blockrig/kernels/gitbuild/smalltree"
)

// A neighbour is another machine, with folders of its own, to which jobs come as
// what they are when they are written down.
type neighbour struct {
	t       *testing.T
	builder *Builder
	store   *Store
	jobs    int
	packs   []int                 // how many were fetched, for each job
	sizes   []int64               // of what was fetched, in bytes
	spoil   func(dir string)      // what it gives, if not nil
	instead func(dir string) bool // true: it gives this, and builds nothing
}

func newNeighbour(t *testing.T) *neighbour {
	t.Helper()
	dir := smalltree.OpenDir(t)
	st, err := OpenStore(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	return &neighbour{t: t, builder: open(t, dir, Options{}), store: st}
}

// id is what its compiler is called.
func (n *neighbour) id() string {
	n.t.Helper()
	id, err := n.builder.CompilerID(context.Background())
	if err != nil {
		n.t.Fatal(err)
	}
	return id
}

// Build implements Away.
func (n *neighbour) Build(ctx context.Context, j Job, src *Sources, dir string) error {
	written, err := json.Marshal(j)
	if err != nil {
		return err
	}
	var came Job
	if err := json.Unmarshal(written, &came); err != nil {
		return err
	}
	files, done, err := src.Packs(ctx)
	if err != nil {
		return err
	}
	n.jobs++
	fetched := 0
	var packs []Pack
	for _, f := range files {
		packs = append(packs, Pack{f.Tree, func(context.Context) (io.ReadCloser, error) {
			fetched++
			info, err := os.Stat(f.Path)
			if err != nil {
				return nil, err
			}
			n.sizes = append(n.sizes, info.Size())
			return os.Open(f.Path)
		}})
	}
	if n.instead == nil || !n.instead(dir) {
		// The entry to be is there already; what is built is a folder of its own.
		out := filepath.Join(smalltree.OpenDir(n.t), "out")
		if err := n.builder.Do(ctx, n.store, came, src.Start, packs, out); err != nil {
			return errors.Join(err, done())
		}
		if n.spoil != nil {
			n.spoil(out)
		}
		if err := os.CopyFS(dir, os.DirFS(out)); err != nil {
			return errors.Join(err, done())
		}
	}
	n.packs = append(n.packs, fetched)
	return done()
}

// from gives a builder that has all built by a neighbour.
func (n *neighbour) from(t *testing.T) *Builder {
	return open(t, smalltree.OpenDir(t), Options{Away: n, Compiler: n.id()})
}

// Given another machine that builds, then what comes of a commit is what a build
// here gives, byte for byte, and is kept as that is.
func TestBuiltByAnotherMachine(t *testing.T) {
	g := smalltree.New(t)
	n := newNeighbour(t)
	away, here := n.from(t), open(t, smalltree.OpenDir(t), Options{})
	dotConfig := filepath.Join(smalltree.OpenDir(t), "config")
	if err := os.WriteFile(dotConfig, []byte("CONFIG_SMP=y\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, spec := range []Spec{{Repo: g.Dir(), Rev: "HEAD"}, {Repo: g.Dir(), Rev: "HEAD", ConfigFile: dotConfig}} {
		want, err := here.BuildSpec(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		for _, cached := range []bool{false, true} {
			got, err := away.BuildSpec(t.Context(), spec)
			if err != nil {
				t.Fatal(err)
			}
			if got.Cached != cached || got.Digest != want.Digest || got.Image256 != want.Image256 || got.Release != want.Release || got.Exact != want.Exact ||
				got.Commit != want.Commit || got.Tree != want.Tree || got.Compiler != want.Compiler || got.Files != want.Files || !slices.Equal(got.Fragments, want.Fragments) {
				t.Errorf("away: %+v\nhere: %+v", got, want)
			}
			for _, files := range [][2]string{{got.Config, want.Config}, {got.Map, want.Map}, {got.Sources, want.Sources}} {
				a, aerr := os.ReadFile(files[0])
				b, berr := os.ReadFile(files[1])
				if err := errors.Join(aerr, berr); err != nil || !bytes.Equal(a, b) {
					t.Errorf("%s and %s differ: %v", files[0], files[1], err)
				}
			}
			if _, err := os.Stat(got.Log); err != nil {
				t.Error(err)
			}
		}
	}
	if n.jobs != 2 {
		t.Errorf("%d jobs, want 2", n.jobs)
	}
	// Nothing was compiled here.
	if left, err := filepath.Glob(filepath.Join(away.work, "*", "obj-*")); err != nil || len(left) > 0 {
		t.Error(left, err)
	}
}

// Given commits one after the other, then the sources travel whole once, and
// after that as what differs, and the object tree is gone on with.
func TestOnlyWhatIsMissingTravels(t *testing.T) {
	g := smalltree.New(t)
	// Nothing that compresses well, so that sizes say something.
	big := make([]byte, 1<<20)
	for i, x := 0, uint32(1); i < len(big); i++ {
		x = x*1664525 + 1013904223
		big[i] = byte(x >> 24)
	}
	g.Commit("large", map[string]string{"data": string(big)})
	n := newNeighbour(t)
	b := n.from(t)
	for i, text := range []string{" + 1", " + 2", " + 3"} {
		rev := g.Commit("change"+text, map[string]string{"block/bio.c": "#include \"head.h\"\nint bio(void) { return VALUE" + text + "; }\n", "data": string(big) + text})
		build, err := b.BuildSpec(t.Context(), Spec{Repo: g.Dir(), Rev: rev})
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 && build.Files != 1 {
			t.Errorf("%q: %d files compiled, want 1", text, build.Files)
		}
		if got := n.builder.Commits(n.store); !slices.Equal(got, []string{rev}) {
			t.Errorf("object trees of %v, want of %s", got, rev)
		}
	}
	if !slices.Equal(n.packs, []int{1, 1, 1}) || n.sizes[0] < 1<<20 || n.sizes[1] > 10_000 || n.sizes[2] > 10_000 {
		t.Errorf("packs fetched %v, sizes %v", n.packs, n.sizes)
	}
	// Another machine begins with the whole tree, and has what is missing then.
	m := newNeighbour(t)
	b.opts.Away = m
	rev := g.Commit("more", map[string]string{"block/bio.c": "#include \"head.h\"\nint bio(void) { return VALUE + 7; }\n"})
	if _, err := b.BuildSpec(t.Context(), Spec{Repo: g.Dir(), Rev: rev}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(m.packs, []int{2}) {
		t.Errorf("another machine fetched %v", m.packs)
	}
	// And one whose store was emptied begins anew.
	if err := os.RemoveAll(n.store.dir); err != nil {
		t.Fatal(err)
	}
	st, err := OpenStore(n.store.dir)
	if err != nil {
		t.Fatal(err)
	}
	n.store, b.opts.Away = st, n
	rev = g.Commit("still more", map[string]string{"block/bio.c": "#include \"head.h\"\nint bio(void) { return VALUE + 4; }\n"})
	if build, err := b.BuildSpec(t.Context(), Spec{Repo: g.Dir(), Rev: rev}); err != nil || build.Files != 1 {
		t.Error(build.Files, err)
	}
}

// Given changes to a commit, then they are made here, with the answers that a
// build here gives, and the other machine builds what comes of them.
func TestChangesAreMadeBeforeTheSourcesTravel(t *testing.T) {
	g := smalltree.New(t)
	n := newNeighbour(t)
	away, here := n.from(t), open(t, smalltree.OpenDir(t), Options{})
	base := g.Git("rev-parse", "HEAD")
	changed := g.Commit("change", map[string]string{"block/bio.c": "#include \"head.h\"\nint bio(void) { return VALUE + 1; }\n"})
	g.Commit("other", map[string]string{"main.c": "#include \"head.h\"\nint main(void) { return VALUE + 5; }\n"})
	dir := smalltree.OpenDir(t)
	patch := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return p
	}
	good := patch("good.patch", g.Git("diff", base, changed)+"\n")
	bad := patch("bad.patch", "--- a/none.c\n+++ b/none.c\n@@ -1 +1 @@\n-x\n+y\n")
	for _, spec := range []Spec{
		{Repo: g.Dir(), Rev: "HEAD", Revert: changed},
		{Repo: g.Dir(), Rev: base, Pick: changed},
		{Repo: g.Dir(), Rev: base, Patches: []string{good, bad}},
		{Repo: g.Dir(), Rev: base, Try: []string{bad}},
		{Repo: g.Dir(), Rev: "HEAD", Pick: changed},
		{Repo: g.Dir(), Rev: bare(g)},
	} {
		want, werr := here.BuildSpec(t.Context(), spec)
		got, err := away.BuildSpec(t.Context(), spec)
		if got.Image256 != want.Image256 || !slices.Equal(got.LeftOut, want.LeftOut) || (err == nil) != (werr == nil) || werr != nil && err.Error() != werr.Error() {
			t.Errorf("%+v:\naway %v (left out %v): %v\nhere %v (left out %v): %v", spec, got.Image256, got.LeftOut, err, want.Image256, want.LeftOut, werr)
		}
		for _, is := range []error{ErrDoesNotApply, ErrChangesNothing, kernels.ErrNotFound} {
			if errors.Is(err, is) != errors.Is(werr, is) {
				t.Errorf("%+v: away %v, here %v", spec, err, werr)
			}
		}
	}
	if n.jobs != 3 {
		t.Errorf("%d jobs, want 3", n.jobs)
	}
}

// Given sources that can't be built, then the answer is that of a build here, and
// is remembered.
func TestWhatDoesNotBuildElsewhere(t *testing.T) {
	g := smalltree.New(t)
	n := newNeighbour(t)
	away, here := n.from(t), open(t, smalltree.OpenDir(t), Options{})
	g.Commit("break it", map[string]string{"block/bio.c": "int bio(void) { return VALUE }\n"})
	spec := Spec{Repo: g.Dir(), Rev: "HEAD"}
	var want, got *FailedError
	if _, err := here.BuildSpec(t.Context(), spec); !errors.As(err, &want) {
		t.Fatal(err)
	}
	for _, cached := range []bool{false, true} {
		_, err := away.BuildSpec(t.Context(), spec)
		if !errors.As(err, &got) || got.Why != want.Why || got.Cached != cached {
			t.Fatalf("%v, want %v", err, want)
		}
		if log, err := os.ReadFile(got.Log); err != nil || !strings.Contains(string(log), "bio.c") {
			t.Errorf("the log has %q: %v", log, err)
		}
	}
	if n.jobs != 1 {
		t.Errorf("%d jobs, want 1", n.jobs)
	}
}

// Given another machine that gives what was not asked for, then nothing of it is
// kept.
func TestWhatAnotherMachineSaysIsNotBelieved(t *testing.T) {
	for what, c := range map[string]struct {
		name, text string // of a file that it gives instead; "" removes it
		want       string
	}{
		"no image":        {fileImage, "not a kernel", "too few for a kernel"},
		"no files":        {fileMap, "", "no such file"},
		"no log":          {fileLog, "", "no such file"},
		"another config":  {fileConfig, "CONFIG_OTHER=y\n", "not the one that was asked for"},
		"no record":       {fileBuild, "{", "unexpected end"},
		"a huge record":   {fileBuild, strings.Repeat(" ", maxSaid+1), "bytes"},
		"a mute failure":  {fileFailed, "{}", "does not say why"},
		"neither of both": {fileBuild, "", "no such file"},
	} {
		t.Run(what, func(t *testing.T) {
			g := smalltree.New(t)
			n := newNeighbour(t)
			n.spoil = func(dir string) {
				err := os.Remove(filepath.Join(dir, c.name))
				if c.text != "" {
					err = os.WriteFile(filepath.Join(dir, c.name), []byte(c.text), 0o644)
				}
				if err != nil {
					t.Error(err)
				}
			}
			b := n.from(t)
			spec := Spec{Repo: g.Dir(), Rev: "HEAD"}
			if _, err := b.BuildSpec(t.Context(), spec); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v, want %q", err, c.want)
			}
			n.spoil = nil
			if build, err := b.BuildSpec(t.Context(), spec); err != nil || build.Cached {
				t.Errorf("the next one: %+v, %v", build, err)
			}
		})
	}
}

// What it says of where its files are, and of whose they are, counts for nothing.
func TestARecordNamesNoFiles(t *testing.T) {
	g := smalltree.New(t)
	n := newNeighbour(t)
	secret := filepath.Join(smalltree.OpenDir(t), "secret")
	if err := os.WriteFile(secret, smalltree.Image(), 0o644); err != nil {
		t.Fatal(err)
	}
	n.spoil = func(dir string) {
		lie := Build{Commit: "x", Compiler: "y", Image256: "z", Log: secret, Sources: secret, Files: -3}
		lie.Image, lie.Vmlinux, lie.Ref = secret, secret, "file:"+secret
		data, err := json.Marshal(lie)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, fileBuild), data, 0o644)
		}
		if err != nil {
			t.Error(err)
		}
	}
	b := n.from(t)
	got, err := b.BuildSpec(t.Context(), Spec{Repo: g.Dir(), Rev: "HEAD"})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{got.Image, got.Log, got.Sources, got.Ref} {
		if strings.Contains(p, secret) {
			t.Errorf("%s", p)
		}
	}
	if got.Vmlinux != "" || got.Files != 0 || got.Compiler != n.id() || got.Commit != g.Git("rev-parse", "HEAD") {
		t.Errorf("%+v", got)
	}
}

// writeTree writes a tree that git itself would not.
func writeTree(t *testing.T, repo *gitcmd.Repo, entries ...string) string {
	t.Helper()
	out, err := repo.RunInput(t.Context(), strings.NewReader(strings.Join(entries, "")), "hash-object", "--literally", "-t", "tree", "-w", "--stdin")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// entry is one of a tree's.
func entry(t *testing.T, mode, name, hash string) string {
	t.Helper()
	var raw []byte
	for i := 0; i < len(hash); i += 2 {
		var b byte
		for _, c := range hash[i : i+2] {
			b = b<<4 | byte(strings.IndexRune("0123456789abcdef", c))
		}
		raw = append(raw, b)
	}
	return mode + " " + name + "\x00" + string(raw)
}

// Given packs that a stranger made, then nothing of them is checked out, nothing
// is run, and the job is said to be why.
func TestHostilePacks(t *testing.T) {
	dir := smalltree.OpenDir(t)
	theirs, err := gitcmd.Init(filepath.Join(dir, ".git"), dir)
	if err != nil {
		t.Fatal(err)
	}
	mark := filepath.Join(smalltree.OpenDir(t), "mark")
	makefile := "all bzImage allnoconfig olddefconfig:\n\ttouch " + mark + "\n"
	write := func(text string) string {
		out, err := theirs.RunInput(t.Context(), strings.NewReader(text), "hash-object", "-w", "--stdin")
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(out)
	}
	blob := write(makefile)
	sub := writeTree(t, theirs, entry(t, "100644", "config", write("[core]\n\tfsmonitor = touch "+mark+"\n")))
	file := func(name string) string { return entry(t, "100644", name, blob) }
	for what, c := range map[string]struct {
		tree string
		pack func([]byte) []byte // nil: as git makes it
	}{
		"a name that leads out":       {tree: writeTree(t, theirs, file("../../../../"+filepath.Base(mark)), file("Makefile"))},
		"a folder that leads out":     {tree: writeTree(t, theirs, entry(t, "40000", "..", writeTree(t, theirs, file("Makefile"))), file("Makefile"))},
		"git's own folder":            {tree: writeTree(t, theirs, entry(t, "40000", ".git", sub), file("Makefile"))},
		"git's own folder, disguised": {tree: writeTree(t, theirs, entry(t, "40000", ".GIT", sub), file("Makefile"))},
		"a name twice":                {tree: writeTree(t, theirs, file("Makefile"), file("Makefile"))},
		"a link for .gitmodules":      {tree: writeTree(t, theirs, entry(t, "120000", ".gitmodules", write("/etc/passwd")), file("Makefile"))},
		"an object that is missing":   {tree: writeTree(t, theirs, file("Makefile")), pack: func([]byte) []byte { return packOf(t, theirs, "") }},
		"an object that is spoilt":    {tree: writeTree(t, theirs, file("Makefile")), pack: func(p []byte) []byte { p[len(p)/2] ^= 0x55; return p }},
		"half a pack":                 {tree: writeTree(t, theirs, file("Makefile")), pack: func(p []byte) []byte { return p[:len(p)/2] }},
		"no pack":                     {tree: writeTree(t, theirs, file("Makefile")), pack: func([]byte) []byte { return []byte("PACK") }},
		"nothing":                     {tree: writeTree(t, theirs, file("Makefile")), pack: func([]byte) []byte { return nil }},
	} {
		t.Run(what, func(t *testing.T) {
			n := newNeighbour(t)
			pack := packOf(t, theirs, c.tree)
			if c.pack != nil {
				pack = c.pack(pack)
			}
			j := Job{Commit: c.tree, Tree: c.tree, Compiler: n.id()}
			err := n.builder.Do(t.Context(), n.store, j, nil, []Pack{{c.tree, func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(pack)), nil }}}, filepath.Join(smalltree.OpenDir(t), "out"))
			if !errors.Is(err, ErrJob) {
				t.Errorf("error %v, want one of the job", err)
			}
			if _, err := os.Stat(mark); err == nil {
				t.Error("something was run")
			}
			if n.store.has(t.Context(), c.tree) {
				t.Error("it is kept")
			}
		})
	}
}

// packOf is a pack with a tree and all below it; of "", one with nothing.
func packOf(t *testing.T, repo *gitcmd.Repo, tree string) []byte {
	t.Helper()
	out, err := repo.RunInput(t.Context(), strings.NewReader(tree+"\n"), "pack-objects", "--revs", "--stdout", "--quiet")
	if err != nil {
		t.Fatal(err)
	}
	return []byte(out)
}

// Given sources whose attributes ask for filters, drivers and other encodings,
// then no program of theirs is run, neither where they are packed nor where they
// are checked out.
func TestAttributesRunNothing(t *testing.T) {
	g := smalltree.New(t)
	mark := filepath.Join(smalltree.OpenDir(t), "mark")
	touch := "sh -c 'touch " + mark + "; cat'"
	for key, value := range map[string]string{
		"filter.x.clean": touch, "filter.x.smudge": touch, "filter.x.process": touch, "diff.x.textconv": touch, "merge.x.driver": touch,
		"core.fsmonitor": touch, "core.hooksPath": filepath.Dir(mark), "uploadpack.packObjectsHook": touch, "gc.recentObjectsHook": touch,
	} {
		config := filepath.Join(g.GitDir(), "config")
		if _, err := g.Run(t.Context(), "config", "--file", config, key, value); err != nil {
			t.Fatal(err)
		}
	}
	// Written past git, which would run the filters itself here.
	first := g.Git("rev-parse", "HEAD")
	if err := os.WriteFile(filepath.Join(g.Dir(), ".gitattributes"), []byte("* filter=x diff=x merge=x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	blob := g.Git("hash-object", "--no-filters", "-w", ".gitattributes")
	tree := writeTree(t, g.Repo, entry(t, "100644", ".gitattributes", blob), entry(t, "100644", "Makefile", g.Git("rev-parse", first+":Makefile")))
	rev := g.Git("-c", "user.name=A", "-c", "user.email=a@example.org", "commit-tree", "-m", "attributes", tree)
	n := newNeighbour(t)
	patch := filepath.Join(smalltree.OpenDir(t), "p.patch")
	if err := os.WriteFile(patch, []byte("--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, spec := range []Spec{{Repo: g.Dir(), Rev: rev}, {Repo: g.Dir(), Rev: rev, Patches: []string{patch}}} {
		_, err := n.from(t).BuildSpec(t.Context(), spec)
		var failed *FailedError
		if !errors.As(err, &failed) { // there is nothing to compile
			t.Error(err)
		}
		if _, err := os.Stat(mark); err == nil {
			t.Fatal("a program of the repository was run")
		}
	}
}

// Given jobs that can't be, then they are the job's fault and nothing is fetched.
func TestJobsThatCantBe(t *testing.T) {
	n := newNeighbour(t)
	tree := strings.Repeat("a", 40)
	good := Job{Commit: tree, Tree: tree, Compiler: n.id()}
	for what, spoil := range map[string]func(*Job){
		"no tree":         func(j *Job) { j.Tree = "HEAD" },
		"an option":       func(j *Job) { j.Tree = "--output=/tmp/x" },
		"no commit":       func(j *Job) { j.Commit = "../../x" },
		"no compiler":     func(j *Job) { j.Compiler = "" },
		"a config":        func(j *Job) { j.Start = strings.Repeat("b", 64) },
		"no config":       func(j *Job) { j.Start = "b" },
		"a wrong option":  func(j *Job) { j.Wants = wantsOf("CONFIG_X\nCONFIG_Y", "y") },
		"a wrong setting": func(j *Job) { j.Wants = wantsOf("CONFIG_X", "y\nCONFIG_Y=y") },
		"no option":       func(j *Job) { j.Wants = wantsOf("", "") },
	} {
		j := good
		spoil(&j)
		err := n.builder.Do(t.Context(), n.store, j, nil, []Pack{{tree, func(context.Context) (io.ReadCloser, error) {
			t.Errorf("%s: fetched", what)
			return nil, io.EOF
		}}}, filepath.Join(smalltree.OpenDir(t), "out"))
		if !errors.Is(err, ErrJob) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func wantsOf(option, value string) []config.Want {
	return []config.Want{{Any: []config.Setting{{Option: option, Value: value}}, Fragment: "f.config", Line: 1}}
}

// Given a full store that nobody uses, then it begins anew.
func TestAFullStoreBeginsAnew(t *testing.T) {
	g := smalltree.New(t)
	n := newNeighbour(t)
	b := n.from(t)
	build := func(value string) {
		t.Helper()
		rev := g.Commit(value, map[string]string{"block/bio.c": "#include \"head.h\"\nint bio(void) { return VALUE + " + value + "; }\n"})
		if got, err := b.BuildSpec(t.Context(), Spec{Repo: g.Dir(), Rev: rev}); err != nil || value != "1" && got.Files != 1 {
			t.Fatal(got.Files, err)
		}
	}
	build("1")
	build("2")
	full, err := os.Create(filepath.Join(n.store.dir, "objects", "pack", "pack-full.pack"))
	if err == nil {
		err = errors.Join(full.Truncate(storeLimit+1), full.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	build("3")
	if _, err := os.Stat(full.Name()); !errors.Is(err, os.ErrNotExist) {
		t.Error("the store is as full as before:", err)
	}
	if !slices.Equal(n.packs, []int{1, 1, 2}) {
		t.Errorf("fetched %v", n.packs)
	}
}

// Given a store whose sources have rotted, then that is no answer to a job, and the
// store begins anew.
func TestARottenStoreBeginsAnew(t *testing.T) {
	g := smalltree.New(t)
	n := newNeighbour(t)
	b := n.from(t)
	if _, err := b.BuildSpec(t.Context(), Spec{Repo: g.Dir(), Rev: "HEAD"}); err != nil {
		t.Fatal(err)
	}
	packs, err := filepath.Glob(filepath.Join(n.store.dir, "objects/pack/*.pack"))
	if err != nil || len(packs) == 0 {
		t.Fatal(packs, err)
	}
	for _, p := range packs {
		if err := errors.Join(os.Chmod(p, 0o600), os.WriteFile(p, []byte("rot"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(n.builder.storeDir(n.store)); err != nil { // all is checked out again
		t.Fatal(err)
	}
	rev := g.Commit("more", map[string]string{"block/bio.c": "#include \"head.h\"\nint bio(void) { return VALUE + 3; }\n"})
	if _, err := b.BuildSpec(t.Context(), Spec{Repo: g.Dir(), Rev: rev}); err == nil || errors.Is(err, ErrJob) {
		t.Errorf("with what has rotted: %v, want an error that is not the job's", err)
	}
	build, err := b.BuildSpec(t.Context(), Spec{Repo: g.Dir(), Rev: rev})
	if err != nil {
		t.Fatal(err)
	}
	want, err := open(t, smalltree.OpenDir(t), Options{}).BuildSpec(t.Context(), Spec{Repo: g.Dir(), Rev: rev})
	if err != nil || build.Image256 != want.Image256 {
		t.Errorf("%s, want %s, %v", build.Image256, want.Image256, err)
	}
}
