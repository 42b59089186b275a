package gitbuild

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
)

func writeLines(file string, set map[string]bool) error {
	text := strings.Join(slices.Sorted(maps.Keys(set)), "\n") + "\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return fmt.Errorf("store a build: %w", err)
	}
	return nil
}

// Compiled gives those of some paths, relative to the source tree, that the
// build read: sources, headers, and the Makefiles and Kconfig files above
// them.
func (b Build) Compiled(paths []string) ([]string, error) {
	f, err := os.Open(b.Sources)
	if err != nil {
		return nil, fmt.Errorf("what the build read: %w", err)
	}
	defer f.Close()
	read := make(map[string]bool)
	folders := map[string]bool{".": true, "scripts": true}
	scan := bufio.NewScanner(f)
	for scan.Scan() {
		p := scan.Text()
		read[p] = true
		for d := path.Dir(p); !folders[d]; d = path.Dir(d) {
			folders[d] = true
		}
	}
	if err := scan.Err(); err != nil {
		return nil, fmt.Errorf("what the build read: %w", err)
	}
	var out []string
	for _, p := range paths {
		switch base := path.Base(p); {
		case read[p]:
		case (base == "Makefile" || base == "Kbuild" || strings.HasPrefix(base, "Kconfig") || strings.HasPrefix(base, "Makefile.")) && folders[path.Dir(p)]:
		case strings.HasPrefix(p, "scripts/") && folders[path.Dir(p)]:
		default:
			continue
		}
		out = append(out, p)
	}
	return out, nil
}
