// Package language reads scenarios: YAML in, a scenarios.Scenario and its
// cases out, and for every mistake the place where it stands.
package language

import (
	"fmt"
	"regexp"
	"slices"

	"golang.org/x/sys/unix"
	"gopkg.in/yaml.v3"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
)

var (
	scenarioKeys = []string{"name", "about", "machine", "disks", "require", "stack", "step", "expect", "matrix", "story", "cold"}

	namePattern  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$`)
	diskPattern  = regexp.MustCompile(`^[a-z][a-z0-9-]{0,15}$`)
	paramPattern = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)
	usePattern   = regexp.MustCompile(`^\$\{([^{}]*)\}$`)
)

const (
	mib = scenarios.Bytes(1) << 20
	gib = scenarios.Bytes(1) << 30

	maxCases = 4096
	// ahciPorts is what QEMU's ich9-ahci has.
	ahciPorts = 6
)

// Parse reads one scenario from src. It is strict: an unknown or missing key,
// a wrong type, a value that can't work, or a second document is an *Error
// with the line and what is allowed. name stands in the error and is where
// the source came from.
func Parse(name string, src []byte) (*scenarios.Scenario, error) {
	d := &decoder{file: name, at: map[string]*yaml.Node{}}
	s := &scenarios.Scenario{Source: slices.Clone(src), StepParams: map[string]string{}}
	if root := d.document(src); root != nil {
		d.scenario(s, root)
	}
	if d.err == nil {
		d.checkParams(s)
	}
	if d.err == nil {
		d.checkStack(s)
	}
	if d.err == nil {
		d.checkCases(s)
	}
	if d.err != nil {
		return nil, d.err
	}
	return s, nil
}

func (d *decoder) scenario(s *scenarios.Scenario, root *yaml.Node) {
	d.object("", root, []field{
		{"name", true, d.name(&s.Name, namePattern, "a name of at most 64 small letters, digits and hyphens")},
		{"about", true, d.text(&s.About)},
		// Below 128 MiB a distribution's kernel does not unpack its initramfs.
		{"machine", true, d.mapping(field{"memory", true, d.size(&s.Machine.Memory, 128*mib, 64*gib, mib)})},
		{"disks", true, d.disks(&s.Disks)},
		{"require", false, d.mapping(field{"dma_alignment", false, d.alignment(&s.Require.DMAAlignment)})},
		{"stack", true, d.stack(&s.Stack)},
		{"step", true, d.step(s)},
		{"expect", true, d.mapping(field{"aligned", false, d.outcomes(&s.Expect.Aligned)}, field{"misaligned", false, d.outcomes(&s.Expect.Misaligned)})},
		{"matrix", false, d.matrix(&s.Matrix)},
		{"story", false, d.story(&s.Story)},
		{"cold", false, d.text(&s.Cold)},
	})
}

func (d *decoder) disks(to *[]scenarios.Disk) reader {
	return func(path string, n *yaml.Node) {
		d.list(path, n, ahciPorts, func(path string, n *yaml.Node) {
			var disk scenarios.Disk
			d.object(path, n, []field{
				{"id", true, d.name(&disk.ID, diskPattern, "a name of at most 16 small letters, digits and hyphens that begins with a letter")},
				{"bus", true, choice(d, &disk.Bus, "ahci")},
				{"size", true, d.size(&disk.Size, 512, 1024*gib, 512)},
			})
			for _, other := range *to {
				if other.ID == disk.ID {
					d.failAt(path+".id", "two disks have the id %s", disk.ID)
				}
			}
			*to = append(*to, disk)
		})
	}
}

// alignment reads the kernel's mask: an alignment in bytes minus one.
func (d *decoder) alignment(to **int) reader {
	return func(path string, n *yaml.Node) {
		var mask int64
		d.integer(&mask)(path, n)
		if d.err == nil && (mask < 0 || mask > 4095 || mask&(mask+1) != 0) {
			d.fail(n.Line, "%s: %d is not allowed; it is a power of two minus one, from 0 to 4095", path, mask)
		}
		value := int(mask)
		*to = &value
	}
}

func (d *decoder) stack(to *scenarios.Stack) reader {
	return d.mapping(
		field{"lvm", false, func(path string, n *yaml.Node) {
			to.LVM = &scenarios.LVM{}
			d.object(path, n, []field{
				{"type", true, choice(d, &to.LVM.Type, "mirror", "raid1", "linear")},
				{"size", true, d.size(&to.LVM.Size, extent, 512*gib, extent)},
				{"log", false, choice(d, &to.LVM.Log, "disk", "core")},
				{"dmeventd", false, d.boolean(&to.LVM.Dmeventd)},
			})
		}},
		field{"md", false, func(path string, n *yaml.Node) {
			to.MD = &scenarios.MD{}
			d.object(path, n, []field{{"level", true, choice(d, &to.MD.Level, "raid1")}})
		}},
		field{"ext4", true, func(path string, n *yaml.Node) {
			var size string
			// x86's page is 4 KiB; a larger block is not mounted.
			d.object(path, n, []field{{"block_size", true, choice(d, &size, "1024", "2048", "4096")}})
			block, _ := scenarios.ParseInt(size)
			to.Ext4 = &scenarios.Ext4{BlockSize: int(block)}
		}},
		field{"file", true, func(path string, n *yaml.Node) {
			to.File = &scenarios.File{}
			d.object(path, n, []field{{"size", true, d.size(&to.File.Size, 1, 256*gib, 1)}})
		}},
	)
}

func (d *decoder) step(s *scenarios.Scenario) reader {
	number := func(key string, to *int64) field {
		return field{key, true, func(path string, n *yaml.Node) {
			m := usePattern.FindStringSubmatch(n.Value)
			v, ok := scenarios.ParseInt(n.Value)
			switch {
			case n.Kind == yaml.ScalarNode && m != nil:
				s.StepParams[key] = m[1]
			case n.Kind == yaml.ScalarNode && ok:
				*to = v
			default:
				d.fail(n.Line, "%s: a decimal integer (bytes) or a parameter, written ${name}, is wanted here, not %s", path, describe(n))
			}
		}}
	}
	return d.mapping(
		field{"op", true, choice(d, &s.Step.Op, "pread")},
		field{"direct", true, d.boolean(&s.Step.Direct)},
		number("offset", &s.Step.Offset),
		number("length", &s.Step.Length),
		number("memory_offset", &s.Step.MemoryOffset),
	)
}

// outcomes reads what may come of a step.
func (d *decoder) outcomes(to *[]string) reader {
	return func(path string, n *yaml.Node) {
		d.list(path, n, 16, func(path string, n *yaml.Node) {
			if n.Kind != yaml.ScalarNode || n.Value != "data" && !isErrno(n.Value) {
				d.fail(n.Line, "%s: %s is not known; allowed: data (all bytes, and right) or the name of an errno, such as EINVAL", path, describe(n))
				return
			}
			if slices.Contains(*to, n.Value) {
				d.fail(n.Line, "%s: %s is here twice", path, n.Value)
			}
			*to = append(*to, n.Value)
		})
	}
}

// isErrno knows the names of errno(3). The largest number of Linux is 133
// (EHWPOISON).
func isErrno(name string) bool {
	for n := unix.Errno(1); n <= 133 && name != ""; n++ {
		if unix.ErrnoName(n) == name {
			return true
		}
	}
	return false
}

func (d *decoder) matrix(to *[]scenarios.Param) reader {
	return func(path string, n *yaml.Node) {
		if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
			d.fail(n.Line, "%s: a mapping of parameters to their values is wanted here, such as length: [512, 4096], not %s", path, describe(n))
			return
		}
		cases := 1
		for i := 0; i < len(n.Content) && d.err == nil; i += 2 {
			key := n.Content[i]
			if key.Kind != yaml.ScalarNode || !paramPattern.MatchString(key.Value) {
				d.fail(key.Line, "%s: a parameter's name has at most 32 small letters, digits and underscores and begins with a letter, not %s", path, describe(key))
				return
			}
			if slices.ContainsFunc(*to, func(p scenarios.Param) bool { return p.Name == key.Value }) {
				d.fail(key.Line, "%s: the key %s is here twice", path, key.Value)
				return
			}
			param := scenarios.Param{Name: key.Value}
			at := path + "." + key.Value
			d.at[at] = key
			d.list(at, n.Content[i+1], maxCases, func(path string, n *yaml.Node) {
				var v int64
				d.integer(&v)(path, n)
				if slices.Contains(param.Values, v) {
					d.fail(n.Line, "%s: %d is here twice", path, v)
				}
				param.Values = append(param.Values, v)
			})
			if cases *= len(param.Values); cases > maxCases {
				d.fail(key.Line, "%s: the matrix has more than %d cases", path, maxCases)
			}
			*to = append(*to, param)
		}
	}
}

// checkParams holds what is declared against what is used.
func (d *decoder) checkParams(s *scenarios.Scenario) {
	var declared []string
	for _, p := range s.Matrix {
		declared = append(declared, p.Name)
	}
	var used []string
	for _, key := range stepKeys {
		name, ok := s.StepParams[key]
		if !ok {
			continue
		}
		used = append(used, name)
		if !slices.Contains(declared, name) {
			d.failAt("step."+key, "the parameter %s is not declared in matrix%s; declared: %s", quote(name), text.DidYouMean(name, declared), orNone(declared))
		}
	}
	for _, name := range declared {
		if !slices.Contains(used, name) {
			d.failAt("matrix."+name, "the parameter is not used; write ${%s} in step: it can stand for offset, length or memory_offset", name)
		}
	}
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return keyList(names)
}

// checkCases makes every case of the matrix and refuses what one of them
// can't do, with the line of the value that is to blame.
func (d *decoder) checkCases(s *scenarios.Scenario) {
	err := eachCase(s, nil, func(c scenarios.Case) error {
		if bad := checkStep(s, c.Step); bad != nil {
			d.failAt(d.blame(s, c, bad.key), "%s", bad.msg)
			return d.err
		}
		class := "misaligned"
		if c.Aligned {
			class = "aligned"
		}
		if len(c.Expect) == 0 {
			d.failAt("expect", "the key %s is missing, and the case %s is %s", class, label(c), class)
			return d.err
		}
		return nil
	})
	if err != nil && d.err == nil {
		d.fail(1, "%v", err)
	}
	if d.err == nil {
		d.checkStory(s)
	}
}

// blame is the path of the value that a step's key has in a case.
func (d *decoder) blame(s *scenarios.Scenario, c scenarios.Case, key string) string {
	name, ok := s.StepParams[key]
	if !ok {
		return "step." + key
	}
	for i, p := range s.Matrix {
		if p.Name == name {
			return fmt.Sprintf("matrix.%s[%d]", name, slices.Index(p.Values, c.Params[i].Value))
		}
	}
	return "step." + key
}
