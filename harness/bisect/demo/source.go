package main

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/ulikunitz/xz"

	"github.com/blockrig/blockrig/harness/cachedir"
	"github.com/blockrig/blockrig/kernels/debian"
	"github.com/blockrig/blockrig/kernels/gitbuild/gitcmd"
)

// A source is Debian's package of a kernel's sources, in a git repository.
type source struct {
	repo    *gitcmd.Repo
	version string // of the package
	base    string // commit
}

// newest finds the newest package of sources, release candidates left out.
func newest(ctx context.Context, apt *debian.Apt) (debian.Package, error) {
	found, err := apt.Packages(ctx)
	if err != nil {
		return debian.Package{}, err
	}
	var best debian.Package
	for _, p := range found {
		if strings.Contains(p.Version, "~rc") {
			continue
		}
		if best.Name == "" || debian.CompareVersions(p.Version, best.Version) > 0 {
			best = p
		}
	}
	if best.Name == "" {
		return best, errors.New("no package of kernel sources is available")
	}
	return best, nil
}

// fetch gives the repository with the sources, from the cache or newly made.
func fetch(ctx context.Context, cache, suite string, say func(string, ...any)) (*source, error) {
	apt, err := debian.Open(ctx, debian.Config{CacheDir: filepath.Join(cache, "apt"), Suites: []string{suite}, Wanted: `linux-source-[0-9]+\.[0-9]+`})
	if err != nil {
		return nil, err
	}
	p, err := newest(ctx, apt)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(cache, "demo", p.Name+"_"+p.Version+".git")
	if err := once(ctx, apt, p, dir, say); err != nil {
		return nil, err
	}
	repo, err := gitcmd.Init(dir, "")
	if err != nil {
		return nil, err
	}
	base, err := repo.Resolve(ctx, "refs/tags/"+baseTag)
	if err != nil {
		return nil, err
	}
	return &source{repo, p.Version, base}, nil
}

// once makes the repository where there is none. Whoever wants it meanwhile waits.
func once(ctx context.Context, apt *debian.Apt, p debian.Package, dir string, say func(string, ...any)) (err error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("make a repository: %w", err)
	}
	unlock, err := cachedir.Lock(ctx, dir+".lock")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	say("fetching %s %s (%d MB)", p.Name, p.Version, p.Size/1e6)
	return makeRepo(ctx, apt, p, dir, say)
}

// baseTag names the commit with the sources as they came.
const baseTag = "base"

// makeRepo downloads the package and imports it; the repository appears whole
// or not at all.
func makeRepo(ctx context.Context, apt *debian.Apt, p debian.Package, dir string, say func(string, ...any)) (err error) {
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".new-")
	if err != nil {
		return fmt.Errorf("make a repository: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	root, err := os.OpenRoot(tmp)
	if err != nil {
		return fmt.Errorf("make a repository: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	debs, err := apt.Download(ctx, tmp, p)
	if err != nil {
		return err
	}
	const archive = "source.tar.xz"
	err = debian.Extract(debs[0], root, func(name string) string {
		if path.Base(name) == p.Name+".tar.xz" {
			return archive
		}
		return ""
	})
	if err := errors.Join(err, os.Remove(debs[0])); err != nil {
		return err
	}
	in, err := root.Open(archive)
	if err != nil {
		return fmt.Errorf("the package has no %s.tar.xz: %w", p.Name, err)
	}
	defer in.Close()
	say("importing it into git")
	bare := filepath.Join(tmp, "repo")
	repo, err := gitcmd.Init(bare, "")
	if err != nil {
		return err
	}
	if err := importTar(ctx, repo, in, p); err != nil {
		return err
	}
	return os.Rename(bare, dir)
}

// importTar feeds the archive to git fast-import, so that the tree is never
// unpacked.
func importTar(ctx context.Context, repo *gitcmd.Repo, archive io.Reader, p debian.Package) error {
	r, err := xz.NewReader(bufio.NewReaderSize(archive, 1<<20))
	if err != nil {
		return fmt.Errorf("read the sources: %w", err)
	}
	return fastImport(ctx, repo, func(w *bufio.Writer) error {
		var tree strings.Builder
		in := tar.NewReader(r)
		for mark := 1; ; mark++ {
			h, err := in.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return fmt.Errorf("read the sources: %w", err)
			}
			_, name, ok := strings.Cut(path.Clean(h.Name), "/")
			if !ok || !needed(name) || strings.ContainsAny(name, "\"\n\\") || !filepath.IsLocal(name) {
				continue
			}
			switch h.Typeflag {
			case tar.TypeReg:
				mode := "100644"
				if h.Mode&0o100 != 0 {
					mode = "100755"
				}
				fmt.Fprintf(w, "blob\nmark :%d\ndata %d\n", mark, h.Size)
				if _, err := io.Copy(w, in); err != nil {
					return fmt.Errorf("import %s: %w", name, err)
				}
				fmt.Fprintln(w)
				fmt.Fprintf(&tree, "M %s :%d %s\n", mode, mark, name)
			case tar.TypeSymlink:
				fmt.Fprintf(w, "blob\nmark :%d\ndata %d\n%s\n", mark, len(h.Linkname), h.Linkname)
				fmt.Fprintf(&tree, "M 120000 :%d %s\n", mark, name)
			}
		}
		title := fmt.Sprintf("Linux %s, as in Debian's %s %s", debian.Upstream(p.Version), p.Name, p.Version)
		writeCommit(w, "refs/heads/main", title, 0)
		_, err := fmt.Fprintf(w, "%s\nreset refs/tags/%s\nfrom refs/heads/main\n\n", tree.String(), baseTag)
		return err
	})
}

// unneeded are folders that an x86 kernel with blockrig's options is not built
// from: without them the repository is half as large. (arch/x86 reads files of
// arch/um.)
var unneeded = regexp.MustCompile(`^(arch/([a-tv-wyz][^/]*)/|Documentation/|drivers/gpu/drm/|sound/|tools/(testing|perf)/|samples/)`)

// needed keeps what make bzImage reads on x86, with room to spare, and every
// Kconfig file and Makefile.
func needed(name string) bool {
	base := path.Base(name)
	return !unneeded.MatchString(name) || strings.HasPrefix(base, "Kconfig") || strings.HasPrefix(base, "Makefile") || strings.HasPrefix(base, "Kbuild")
}

// began is the date of the first commit; each one after it is an hour later,
// so that the same seed gives the same hashes.
var began = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

const author = "blockrig demo <demo@blockrig.example>"

func writeCommit(w io.Writer, ref, message string, n int) {
	stamp := fmt.Sprintf("%s %d +0000", author, began.Add(time.Duration(n)*time.Hour).Unix())
	fmt.Fprintf(w, "commit %s\nauthor %s\ncommitter %s\ndata %d\n%s\n", ref, stamp, stamp, len(message), message)
}

// fastImport runs git fast-import with what write gives it.
func fastImport(ctx context.Context, repo *gitcmd.Repo, write func(*bufio.Writer) error) error {
	r, pipe := io.Pipe()
	written := make(chan error, 1)
	go func() {
		w := bufio.NewWriterSize(pipe, 1<<20)
		err := write(w)
		if err == nil {
			_, err = w.WriteString("done\n") // without it nothing is kept
		}
		err = errors.Join(err, w.Flush())
		written <- errors.Join(err, pipe.CloseWithError(err))
	}()
	_, err := repo.RunInput(ctx, r, "-c", "core.compression=1", "fast-import", "--quiet", "--force", "--done")
	return errors.Join(err, r.CloseWithError(err), <-written)
}
