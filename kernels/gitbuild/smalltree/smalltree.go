// Package smalltree has, for tests, source trees that build as a kernel's does.
package smalltree

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blockrig/blockrig/kernels/gitbuild/gitcmd"
)

// Files are a source tree that builds as a kernel's does, as far as gitbuild
// can tell: allnoconfig and olddefconfig make a .config, bzImage an image with
// a boot header, .cmd files say what was read. It takes a fraction of a second
// and is no kernel: the bisection demo builds real ones.
var Files = map[string]string{
	"Makefile": `
ifneq ($(O),)
src := $(CURDIR)
obj := $(O)
endif
allnoconfig:
	@sed -n '/^CONFIG_\|^# CONFIG_/p' $(KCONFIG_ALLCONFIG) > $(obj)/.config.new
	@for o in $$(cat $(src)/drop 2>/dev/null); do sed -i "/^$$o=/d" $(obj)/.config.new; done
	@cmp -s $(obj)/.config.new $(obj)/.config || cp $(obj)/.config.new $(obj)/.config
olddefconfig:
	@for o in $$(cat $(src)/drop 2>/dev/null); do sed -i "/^$$o=/d" $(obj)/.config; done
$(obj)/%.o: $(src)/%.c $(src)/head.h $(obj)/.config
	@echo "  CC      $*.o"
	@mkdir -p $(dir $@)
	@$(CC) -I$(src) -c -o $@ $<
	@printf 'source_%s.o := %s\n\ndeps_%s.o := \\\n  %s \\\n    $$(wildcard include/config/SMP) \\\n  ../worktree/%s \\\n\n' $* $< $* $(src)/head.h relative.h > $(dir $@).$(notdir $@).cmd
bzImage: $(obj)/block/bio.o $(obj)/main.o
	@id -u > $(obj)/uid
	@env > $(obj)/env
	@mkdir -p $(obj)/arch/x86/boot
	@cat $(src)/extra 2>/dev/null || true
	@sh $(src)/image.sh $(obj)/arch/x86/boot/bzImage $^
	@cp $(obj)/main.o $(obj)/System.map
`,
	// An image that passes for one: see kernels/image.go.
	"image.sh": `out=$1; shift
sum=$(cat "$@" | cksum | cut -d' ' -f1)
cp "$(dirname "$0")/image" "$out"
printf %010d "$sum" | dd of="$out" bs=1 seek=1400 conv=notrunc 2>/dev/null
`,
	"main.c":          "#include \"head.h\"\nint main(void) { return VALUE; }\n",
	"block/bio.c":     "#include \"head.h\"\nint bio(void) { return VALUE; }\n",
	"block/unused.c":  "int unused;\n",
	"relative.h":      "\n",
	"head.h":          "#define VALUE 1\n",
	"block/Makefile":  "obj-y := bio.o\n",
	"drivers/Kconfig": "config DM_MIRROR\n\ttristate\n\tdepends on BLK_DEV_DM && NEW_THING\n\thelp\n\t  depends on no one\n",
}

// Image is a bzImage with a release and no code.
func Image() []byte {
	data := make([]byte, 1<<16)
	copy(data[0x1fe:], "\x55\xaa")
	copy(data[0x202:], "HdrS\x0f\x02")
	data[0x1f1] = 4
	data[0x211] = 1
	data[0x236] = 1
	copy(data[0x20e:], "\x00\x03")
	copy(data[0x500:], "7.2.0 (blockrig@blockrig)\x00")
	size := len(data) - 5*512
	data[0x1f4], data[0x1f5] = byte(size/16), byte(size/16>>8)
	return data
}

// A Repo is a repository of one of them.
type Repo struct {
	*gitcmd.Repo
	t testing.TB
}

// New gives one with a commit.
func New(t testing.TB) *Repo {
	t.Helper()
	// Not t.TempDir: make runs as a user that can't come there.
	dir := OpenDir(t)
	r, err := gitcmd.Init(filepath.Join(dir, ".git"), dir)
	if err != nil {
		t.Fatal(err)
	}
	g := &Repo{r, t}
	files := map[string]string{"image": string(Image())}
	for name, text := range Files {
		files[name] = text
	}
	g.Commit("base", files)
	return g
}

// OpenDir is a temporary folder that every user can come to.
func OpenDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "gitbuild-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Git runs git in it.
func (g *Repo) Git(args ...string) string {
	g.t.Helper()
	out, err := g.Run(context.Background(), args...)
	if err != nil {
		g.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// Commit writes files ("" removes one) and commits them.
func (g *Repo) Commit(title string, files map[string]string) string {
	g.t.Helper()
	for name, text := range files {
		p := filepath.Join(g.Dir(), name)
		if text == "" {
			if err := os.Remove(p); err != nil {
				g.t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			g.t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			g.t.Fatal(err)
		}
	}
	g.Git("add", "-A", ".")
	g.Git("-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "-q", "-m", title)
	return g.Git("rev-parse", "HEAD")
}
