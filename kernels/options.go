package kernels

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"github.com/blockrig/blockrig/kernels/internal/decompress"
	"github.com/blockrig/blockrig/scenarios"
)

// maxConfig bounds a kernel's config, in bytes: Debian's have 300 KB.
const maxConfig = 4 << 20

// readOptions reads a kernel's config: "y", "m" or a value for each option
// that is set.
func readOptions(file string) (map[string]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read kernel config: %w", err)
	}
	defer f.Close()
	options := map[string]string{}
	scan := bufio.NewScanner(decompress.AtMost(f, maxConfig))
	for n := 1; scan.Scan(); n++ {
		line := strings.TrimSpace(scan.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok || !strings.HasPrefix(name, "CONFIG_") {
			return nil, fmt.Errorf("read kernel config: %s:%d: want CONFIG_NAME=value, got %.40q", file, n, line)
		}
		options[name] = value
	}
	if err := scan.Err(); err != nil {
		return nil, fmt.Errorf("read kernel config %s: %w", file, err)
	}
	if len(options) == 0 {
		return nil, fmt.Errorf("read kernel config: %s sets no option", file)
	}
	return options, nil
}

// missing gives the options of needs that the kernel has neither built in nor
// as a module, in the order of needs.
func missing(options map[string]string, needs []scenarios.Need) []string {
	var lacks []string
	for _, need := range needs {
		value := options[need.Option]
		if need.Option != "" && (value == "" || value == "n" || value == "m" && need.Module == "") {
			lacks = append(lacks, need.Option)
		}
	}
	return lacks
}
