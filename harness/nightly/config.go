package nightly

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/blockrig/blockrig/harness/hunt"
	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/harness/verdict"
	"github.com/blockrig/blockrig/kernels"
	"github.com/blockrig/blockrig/kernels/config"
	"github.com/blockrig/blockrig/scenarios"
	"github.com/blockrig/blockrig/scenarios/language"
)

// A Config says what every night is to look at. It is read as strictly as a
// scenario is: its fields' tags say what may stand there.
type Config struct {
	Name      string     `json:"name" is:"SCENARIO" doc:"names the nights: their state is kept below it"`
	Kernels   []Pattern  `json:"kernels" doc:"which kernels"`
	Scenarios []Entry    `json:"scenarios,omitempty" least:"0" doc:"shipped ones by name, files by path (relative to this file)"`
	Museum    bool       `json:"museum,omitempty" doc:"the museum too: which kernels still lack which fix"`
	Promises  bool       `json:"promises,omitempty" doc:"the scenarios of what the kernel promises, too"`
	Repeat    int        `json:"repeat" least:"1" most:"1000" default:"4" doc:"trials of each case on each kernel"`
	Confirm   int        `json:"confirm" least:"2" most:"1000" default:"8" doc:"trials, each from a boot of its own, to confirm what seems new"`
	Budget    string     `json:"budget" is:"SPAN" default:"8h" doc:"how long a night may take"`
	Jobs      int        `json:"jobs,omitempty" least:"1" most:"10000" doc:"trials at a time; what the machine carries where it is left out"`
	Accel     string     `json:"accel" is:"auto kvm tcg" default:"auto" doc:"acceleration"`
	CPUs      int        `json:"cpus,omitempty" least:"1" most:"64" doc:"of the guest"`
	Tools     string     `json:"tools" is:"auto debian host" default:"auto" doc:"where the guest's tools come from"`
	Fragments []string   `json:"fragments,omitempty" least:"0" doc:"of blockrig's config, for kernels that are built"`
	Configs   [][]string `json:"configs,omitempty" least:"0" doc:"further fragments of blockrig's config, each list a config: where a failure of a kernel that is built is new, the kernel is built and tried with those, too"`
	Known     []Known    `json:"known,omitempty" least:"0" doc:"failures that are known"`
	Bisect    Bisections `json:"bisect,omitempty" doc:"how new failures are bisected"`
	Hunt      *Hunting   `json:"hunt,omitempty" doc:"look for what nobody has reported, too"`

	dir   string           // the file's
	cases []scenarios.Case // as they were when it was read
}

// A Pattern says which kernels a night looks at. Each is a stream: the history
// of a case is that of one stream.
type Pattern struct {
	Kernel   *Reference `json:"kernel,omitempty" doc:"what a reference stands for tonight, such as debian:newest@trixie-backports or git:REPO@BRANCH"`
	Packages *Packages  `json:"packages,omitempty" doc:"every new kernel package of a suite of Debian's"`
	Tags     *Tags      `json:"tags,omitempty" doc:"every new tag of a repository"`
	Series   *Series    `json:"series,omitempty" doc:"the newest release of each stable series"`
}

// A Reference is a kernel reference.
type Reference struct {
	Ref string `json:"ref" is:"KERNEL" alone:"" doc:"the reference"`
	As  string `json:"as,omitempty" is:"LABEL" doc:"names the stream, so that its history goes on when the reference is changed"`
}

// Packages are the kernel packages of a suite.
type Packages struct {
	Suite string `json:"suite" alone:"" doc:"such as trixie-backports"`
}

// Tags are those of a repository.
type Tags struct {
	Repo  string `json:"repo" doc:"the repository, a local folder"`
	Match string `json:"match" default:"v*" doc:"a glob that their names match"`
}

// Series are the stable series that are to be had: those of Debian, or of
// a repository's tags.
type Series struct {
	Of string `json:"of" alone:"" doc:"debian, or the folder of a repository that has the stable tags"`
}

// An Entry is a scenario, or some cases of it.
type Entry struct {
	Scenario string            `json:"scenario" alone:"" doc:"its name or path"`
	Cases    []string          `json:"cases,omitempty" least:"0" doc:"only these"`
	Set      map[string]string `json:"set,omitempty" doc:"values of parameters"`
}

// Known is a failure that is known: it is shown as that, and tried again.
type Known struct {
	Scenario  string `json:"scenario" is:"SCENARIO" doc:"where it shows"`
	Case      string `json:"case,omitempty" doc:"in which case; in any where it is left out"`
	Signature string `json:"signature" doc:"PHASE/STEP/VERDICT, as results show has it; titles may follow and are not compared"`
	Link      string `json:"link" doc:"where it is reported"`
}

// Bisections are about what follows a new failure.
type Bisections struct {
	Releases bool   `json:"releases" default:"true" doc:"over Debian's releases"`
	Repo     string `json:"repo,omitempty" doc:"a clone of the kernel: then over its commits, too"`
}

// Hunting is a hunt that is part of every night, each with a seed of its own.
type Hunting struct {
	Stacks   []string `json:"stacks" doc:"the stacks, such as lvm-raid1 or crypt+md-raid1, or all"`
	Kernel   string   `json:"kernel,omitempty" is:"KERNEL" doc:"the kernel; the night's first where it is left out"`
	Since    string   `json:"since,omitempty" is:"KERNEL" doc:"try what is found on this kernel, too: is it new?"`
	Budget   string   `json:"budget" is:"SPAN" default:"1h" doc:"how long, of the night's budget"`
	Faults   bool     `json:"faults,omitempty" doc:"with failing disks, too"`
	PowerCut bool     `json:"power_cut,omitempty" doc:"with power cuts, too"`
}

// What a config's list of scenarios leaves to flags is found by these names.
const (
	museumPrefix  = "museum-"
	promisePrefix = "promise-"
)

const kind = "nightly config"

// Load reads a config. What is wrong in it is a *language.Error.
func Load(name string) (*Config, error) {
	src, err := language.ReadFile(name, kind)
	if err != nil {
		return nil, err
	}
	return Parse(name, src)
}

// Parse reads a config that stands at name: paths in it are relative to that.
func Parse(name string, src []byte) (*Config, error) {
	c := &Config{dir: filepath.Dir(name)}
	f, err := language.Read(name, kind, src, c)
	if err != nil {
		return nil, err
	}
	if err := c.check(f); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Config) check(f *language.File) error {
	seen := map[string]bool{}
	for i := range c.Kernels {
		at := fmt.Sprintf("kernels[%d]", i)
		p := &c.Kernels[i]
		if err := p.check(f, at, c.path); err != nil {
			return err
		}
		if seen[p.String()] {
			return f.Wrong(at, "%s is here twice", text.Escape(p.String()))
		}
		seen[p.String()] = true
	}
	if len(c.Scenarios) == 0 && !c.Museum && !c.Promises {
		return f.Wrong("scenarios", "nothing is to be tried; name scenarios, or say museum: true or promises: true")
	}
	if err := c.findCases(f); err != nil {
		return err
	}
	for i, k := range c.Known {
		at := fmt.Sprintf("known[%d].", i)
		if _, err := verdict.ParseSignature(k.Signature); err != nil {
			return f.Wrong(at+"signature", "%v", err)
		}
		names := map[string]bool{}
		found := false
		for _, cs := range c.cases {
			names[cs.Scenario.Name] = true
			found = found || k.Scenario == cs.Scenario.Name && (k.Case == "" || k.Case == cs.ID)
		}
		switch {
		case !names[k.Scenario]:
			return f.Wrong(at+"scenario", "%s is not among the scenarios that are tried%s", text.Escape(k.Scenario), text.DidYouMean(k.Scenario, slices.Sorted(maps.Keys(names))))
		case !found:
			return f.Wrong(at+"case", "%s is no case of %s that is tried", text.Escape(k.Case), text.Escape(k.Scenario))
		}
	}
	if _, err := config.Read(c.Fragments); err != nil {
		return f.Wrong("fragments", "%v", err)
	}
	for i, more := range c.Configs {
		if _, err := config.Read(more); err != nil {
			return f.Wrong(fmt.Sprintf("configs[%d]", i), "%v", err)
		}
	}
	if c.Hunt != nil {
		if _, err := hunt.ParseStacks(c.Hunt.Stacks, 0); err != nil {
			return f.Wrong("hunt.stacks", "%v", err)
		}
	}
	if c.Bisect.Repo != "" {
		c.Bisect.Repo = c.path(c.Bisect.Repo)
	}
	return nil
}

func (p *Pattern) check(f *language.File, at string, local func(string) string) error {
	switch {
	case p.Kernel != nil:
		if strings.HasPrefix(p.Kernel.Ref, "git:") {
			ref, _ := kernels.CutGit(p.Kernel.Ref)
			if ref.Repo == "" || ref.Rev == "" {
				return f.Wrong(at+".kernel", "want git:REPO@REV")
			}
			ref.Repo = local(ref.Repo)
			p.Kernel.Ref = ref.String()
		}
	case p.Packages != nil:
		if strings.ContainsAny(p.Packages.Suite, " @:") {
			return f.Wrong(at+".packages", "%s is no name of a suite, such as trixie-backports", text.Escape(p.Packages.Suite))
		}
	case p.Tags != nil:
		if _, err := path.Match(p.Tags.Match, ""); err != nil {
			return f.Wrong(at+".tags.match", "%s is no glob: %v", text.Escape(p.Tags.Match), err)
		}
		p.Tags.Repo = local(p.Tags.Repo)
	case p.Series != nil:
		if p.Series.Of != debianSeries {
			p.Series.Of = local(p.Series.Of)
		}
	}
	return nil
}

const debianSeries = "debian"

// String names the pattern: "debian:newest", "packages of trixie-backports".
func (p Pattern) String() string {
	switch {
	case p.Kernel != nil:
		return cmp.Or(p.Kernel.As, p.Kernel.Ref)
	case p.Packages != nil:
		return "packages of " + p.Packages.Suite
	case p.Tags != nil:
		return "tags " + p.Tags.Match + " of " + p.Tags.Repo
	case p.Series != nil:
		return "series of " + p.Series.Of
	}
	return ""
}

// path is where a path of the config leads.
func (c *Config) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	abs, err := filepath.Abs(filepath.Join(c.dir, name))
	if err != nil { // the working folder is gone
		return name
	}
	return abs
}

// Time is the budget.
func (c *Config) Time() time.Duration {
	d, err := time.ParseDuration(c.Budget)
	if err != nil { // it was checked
		return 0
	}
	return d
}

// Cases are all that a night may try, in the config's order, none twice.
func (c *Config) Cases() []scenarios.Case { return c.cases }

// findCases reads the scenarios.
func (c *Config) findCases(f *language.File) error {
	seen := map[CaseName]bool{}
	add := func(e Entry) error {
		cases, err := c.casesOf(e)
		for _, cs := range cases {
			if !seen[nameOf(cs)] {
				c.cases = append(c.cases, cs)
			}
			seen[nameOf(cs)] = true
		}
		return err
	}
	for i, e := range c.Scenarios {
		if err := add(e); err != nil {
			return f.Wrong(fmt.Sprintf("scenarios[%d]", i), "%v", err)
		}
	}
	names, err := language.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if c.Museum && strings.HasPrefix(name, museumPrefix) || c.Promises && strings.HasPrefix(name, promisePrefix) {
			if err := add(Entry{Scenario: name}); err != nil {
				return err
			}
		}
	}
	if len(c.cases) == 0 {
		return f.Wrong("scenarios", "no case is left to be tried")
	}
	return nil
}

func (c *Config) casesOf(e Entry) ([]scenarios.Case, error) {
	name := e.Scenario
	if strings.ContainsRune(name, filepath.Separator) || strings.HasSuffix(name, ".yaml") {
		name = c.path(name)
	}
	sc, err := language.Load(name)
	if err != nil {
		return nil, err
	}
	if len(e.Cases) > 0 {
		return language.CasesByID(sc, e.Cases...)
	}
	return language.Cases(sc, e.Set)
}
