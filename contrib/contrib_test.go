// Package contrib has what runs blockrig elsewhere than in a terminal: units of
// systemd, a container's recipe, jobs of GitHub and GitLab. Below it, release
// makes what blockrig is installed from.
package contrib

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// command is blockrig, built once for all tests.
var command string

func TestMain(m *testing.M) {
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "blockrig-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	command = filepath.Join(dir, "blockrig")
	// As the Justfile builds it, so that what it compiled is taken from Go's cache.
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", command, "../harness/cmd/blockrig")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build blockrig: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// use is a line that starts a night, in any of the files: what comes after the
// command.
var use = regexp.MustCompile(`(?m)(?:^[^#\n]*|^# +)(?:\bblockrig|/blockrig)"? ((?:--results \S+ )?nightly [^|>;\n]*)`)

// Given every file, then blockrig takes the commands in it, and reads the
// config that they name.
func TestCommands(t *testing.T) {
	found := 0
	for _, name := range []string{"blockrig-nightly.service", "Containerfile", "github-nightly.yaml", "gitlab-nightly.yaml"} {
		for _, m := range use.FindAllStringSubmatch(read(t, name), -1) {
			args := strings.Fields(m[1])
			dir := t.TempDir()
			if !slices.Contains(args, "--sample") {
				args[len(args)-1] = filepath.Join(dir, "nightly.yaml")
				broken := "name: x\nkernels: [\n"
				if err := os.WriteFile(args[len(args)-1], []byte(broken), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command(command, args...)
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			// It gets as far as the config, where there is one.
			if slices.Contains(args, "--sample") && err != nil || !slices.Contains(args, "--sample") && !strings.Contains(string(out), "nightly.yaml:2: not valid YAML") {
				t.Errorf("%s: blockrig %q: %v: %s", name, args, err, out)
			}
			found++
		}
	}
	if found != 4 {
		t.Errorf("%d commands were found", found)
	}
}

// report is a line that makes a report.
var report = regexp.MustCompile(`(?m)^[^#\n]*blockrig"? (?:--results \S+ )?(results report [^|>;\n]*)`)

// Given every file, then blockrig takes the commands in it that make reports:
// where nothing is recorded, that is all there is to complain of.
func TestReports(t *testing.T) {
	found := 0
	for _, name := range []string{"blockrig-nightly.service", "github-nightly.yaml", "gitlab-nightly.yaml"} {
		for _, m := range report.FindAllStringSubmatch(read(t, name), -1) {
			dir := t.TempDir()
			args := strings.Fields(strings.ReplaceAll(m[1], "%S/blockrig", dir)) // which the unit has systemd make
			cmd := exec.Command(command, append([]string{"--results", dir}, args...)...)
			if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "there are no runs") {
				t.Errorf("%s: blockrig %s: %v: %s", name, m[1], err, out)
			}
			found++
		}
	}
	if found != 4 {
		t.Errorf("%d commands were found", found)
	}
}

// Given the units of hub and worker, then blockrig takes their commands, and
// gets as far as what is wrong with an address or a key.
func TestHubAndWorker(t *testing.T) {
	for name, complaint := range map[string]string{"blockrig-hub.service": "nowhere", "blockrig-worker.service": "BLOCKRIG_HUB_KEY"} {
		m := regexp.MustCompile(`(?m)^ExecStart=blockrig (.*)$`).FindStringSubmatch(read(t, name))
		if m == nil {
			t.Fatalf("%s starts nothing", name)
		}
		args := strings.Fields(strings.NewReplacer("${LISTEN}", "nowhere", "${PAGE}", "127.0.0.1:0", "${HUB}", "127.0.0.1:1").Replace(m[1]))
		cmd := exec.Command(command, args...)
		dir := t.TempDir()
		cmd.Dir = dir
		cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(string(out), complaint) {
			t.Errorf("%s: blockrig %q: %v: %s", name, args, err, out)
		}
	}
}

func TestGitHub(t *testing.T) {
	if out, err := exec.Command("go", "tool", "actionlint", "github-nightly.yaml").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestGitLab(t *testing.T) {
	var job struct {
		Variables map[string]string `yaml:"variables"`
		Nightly   struct {
			Image struct {
				Name       string   `yaml:"name"`
				Entrypoint []string `yaml:"entrypoint"`
			} `yaml:"image"`
			Rules         []map[string]string `yaml:"rules"`
			ResourceGroup string              `yaml:"resource_group"`
			Timeout       string              `yaml:"timeout"`
			Variables     map[string]string   `yaml:"variables"`
			Cache         struct {
				Key   string   `yaml:"key"`
				When  string   `yaml:"when"`
				Paths []string `yaml:"paths"`
			} `yaml:"cache"`
			Script       []string `yaml:"script"`
			AfterScript  []string `yaml:"after_script"`
			AllowFailure struct {
				ExitCodes []int `yaml:"exit_codes"`
			} `yaml:"allow_failure"`
			Artifacts struct {
				When    string   `yaml:"when"`
				Paths   []string `yaml:"paths"`
				Reports struct {
					JUnit string `yaml:"junit"`
				} `yaml:"reports"`
			} `yaml:"artifacts"`
		} `yaml:"nightly"`
	}
	dec := yaml.NewDecoder(strings.NewReader(read(t, "gitlab-nightly.yaml")))
	dec.KnownFields(true)
	if err := dec.Decode(&job); err != nil {
		t.Fatal(err)
	}
	if len(job.Nightly.Script) != 1 || !slices.Contains(job.Nightly.Cache.Paths, "results") {
		t.Errorf("got %+v", job.Nightly)
	}
	if out, err := exec.Command("bash", "-n", "-c", job.Nightly.Script[0]).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// keys of systemd's that the units use, by section (systemd.unit(5),
// systemd.service(5), systemd.exec(5), systemd.kill(5), systemd.timer(5),
// systemd.resource-control(5)).
var keys = map[string][]string{
	"Unit": {"Description", "Documentation", "Wants", "After"},
	"Service": {
		"Type", "ExecStart", "ExecStopPost", "SuccessExitStatus", "KillMode", "TimeoutStopSec", "Nice", "IOSchedulingClass", "NoNewPrivileges",
		"User", "StateDirectory", "StateDirectoryMode", "CacheDirectory", "CacheDirectoryMode", "Environment", "EnvironmentFile",
		"StandardOutput", "Restart", "RestartSec", "RestartPreventExitStatus", "UMask", "CapabilityBoundingSet", "DeviceAllow", "DevicePolicy",
		"LockPersonality", "PrivateDevices", "PrivateTmp", "ProtectControlGroups", "ProtectHome", "ProtectKernelModules",
		"ProtectKernelTunables", "ProtectSystem", "RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID",
	},
	"Timer":   {"OnCalendar", "RandomizedDelaySec", "Persistent"},
	"Install": {"WantedBy"},
}

// Given the units, then every line is a section, a comment or a key that
// systemd knows there, and the timer starts a service that is here.
func TestUnits(t *testing.T) {
	for _, name := range []string{"blockrig-nightly.service", "blockrig-nightly.timer", "blockrig-hub.service", "blockrig-worker.service"} {
		section := ""
		for n, line := range strings.Split(read(t, name), "\n") {
			key, _, isKey := strings.Cut(line, "=")
			switch {
			case line == "", line[0] == '#':
			case line[0] == '[':
				section = strings.Trim(line, "[]")
				if keys[section] == nil {
					t.Errorf("%s:%d: section %s", name, n+1, section)
				}
			case !isKey || !slices.Contains(keys[section], key):
				t.Errorf("%s:%d: %q is no key of [%s]", name, n+1, line, section)
			}
		}
	}
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		return // where there is one, it knows better
	}
	if out, err := exec.Command("systemd-analyze", "calendar", "*-*-* 22:00:00").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// Given the container's recipe, then it installs the package of a release that
// lies beside it, and what that recommends.
func TestContainer(t *testing.T) {
	recipe := read(t, "Containerfile")
	if !strings.Contains(recipe, "COPY blockrig_*_amd64.deb ") || !strings.Contains(recipe, " git ca-certificates ") {
		t.Errorf("got %s", recipe)
	}
}
