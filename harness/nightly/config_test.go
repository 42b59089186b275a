package nightly

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/blockrig/blockrig/scenarios/language"
)

func TestSampleIsAConfig(t *testing.T) {
	c, err := Parse("sample.yaml", []byte(Sample))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, cs := range c.Cases() {
		name, _, _ := strings.Cut(cs.Scenario.Name, "-")
		seen[name] = true
	}
	if !seen["museum"] || !seen["promise"] || !seen["lvm"] || !seen["md"] {
		t.Errorf("cases are of %v", seen)
	}
	if c.Time() != 8*time.Hour || c.Repeat != 4 || !c.Bisect.Releases || len(c.Kernels) != 3 {
		t.Errorf("got %+v", c)
	}
}

const (
	someKernels   = "name: x\nkernels:\n  - kernel: debian:newest\n"
	someScenarios = "scenarios:\n  - plain-dio-read\n"
)

func TestMistakesHaveALine(t *testing.T) {
	for _, tc := range []struct{ src, want string }{
		{"", "c.yaml:1: the file is empty; a nightly config is a mapping with the keys name, kernels"},
		{someKernels + "scenarois: [a]\n", `c.yaml:4: unknown key "scenarois" (did you mean scenarios?)`},
		{someKernels, "c.yaml:1: scenarios: nothing is to be tried"},
		{someKernels + "scenarios:\n  - plain-dio-raed\n", "c.yaml:5: scenarios[0]: no such scenario"},
		{someKernels + "scenarios:\n  - {scenario: plain-dio-read, set: {lenght: \"1\"}}\n", "c.yaml:5: scenarios[0]: "},
		{"name: x\nkernels:\n  - kernle: debian:newest\n" + someScenarios, `c.yaml:3: kernels[0]: unknown kind "kernle" (did you mean kernel?)`},
		{"name: x\nkernels:\n  - kernel: newest\n" + someScenarios, "c.yaml:3: kernels[0].kernel.ref: a kernel reference"},
		{"name: x\nkernels:\n  - kernel: git:/src/linux\n" + someScenarios, "c.yaml:3: kernels[0].kernel: want git:REPO@REV"},
		{"name: x\nkernels:\n  - packages: sid\n  - packages: sid\n" + someScenarios, "c.yaml:4: kernels[1]: packages of sid is here twice"},
		{"name: x\nkernels:\n  - tags: {repo: /src, match: 'v[7'}\n" + someScenarios, "c.yaml:3: kernels[0].tags.match: v[7 is no glob"},
		{someKernels + someScenarios + "budget: 8 hours\n", "c.yaml:6: budget: a time such as 90m or 8h is wanted here"},
		{someKernels + someScenarios + "repeat: 0\n", "c.yaml:6: repeat: 0 is not allowed"},
		{someKernels + someScenarios + "repeat: 4\nrepeat: 5\n", "c.yaml:7: the key repeat is here twice"},
		{someKernels + someScenarios + "known:\n  - {scenario: plain-dio-read, signature: hang, link: x}\n", `c.yaml:7: known[0].signature: "hang" is no signature`},
		{someKernels + someScenarios + "known:\n  - {scenario: plain-dio-reed, signature: step/pread/hang, link: x}\n", "c.yaml:7: known[0].scenario: plain-dio-reed is not among the scenarios that are tried (did you mean plain-dio-read?)"},
		{someKernels + someScenarios + "fragments: [kasam]\n", "c.yaml:6: fragments: "},
		{someKernels + someScenarios + "---\nname: y\n", "c.yaml:6: a second document begins here; a file holds one nightly config"},
	} {
		_, err := Parse("c.yaml", []byte(tc.src))
		var wrong *language.Error
		if !errors.As(err, &wrong) || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%q:\n got  %v\n want %s", tc.src, err, tc.want)
		}
	}
}

func TestPathsAreRelativeToTheConfig(t *testing.T) {
	c, err := Parse("/etc/blockrig/c.yaml", []byte("name: x\nkernels:\n  - kernel: git:linux@master\n  - tags: {repo: ../linux}\n"+someScenarios+"bisect: {repo: linux}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := []string{c.Kernels[0].String(), c.Kernels[1].String(), c.Bisect.Repo}; strings.Join(got, " ") != "git:/etc/blockrig/linux@master tags v* of /etc/linux /etc/blockrig/linux" {
		t.Errorf("got %q", got)
	}
}
