package fleet

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/blockrig/blockrig/harness/trial"
)

// hubFolder makes of the program of the tests a hub with all in that folder.
const hubFolder = "BLOCKRIG_TEST_HUB_FOLDER"

// serveHub is a hub until it is told to end. It says where it listens.
func serveHub(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	keys, err := OpenKeys(filepath.Join(dir, "keys"))
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	h, err := NewHub(ctx, Options{Keys: keys, State: filepath.Join(dir, "state"), Files: filepath.Join(dir, "files")})
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	if err := h.Serve(ctx, l); err != nil {
		return err
	}
	return h.Close()
}

// A used is what a process has used until now.
type used struct {
	cpu     time.Duration
	most    int64 // memory, bytes
	in, out int64 // through files and sockets, bytes
	written int64 // to the disk, bytes
}

func usedBy(tb testing.TB, pid int) (u used) {
	tb.Helper()
	number := func(name, key string) int64 {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
		if err != nil {
			tb.Fatal(err)
		}
		_, after, _ := strings.Cut(string(text), key+":")
		n, err := strconv.ParseInt(strings.Fields(after)[0], 10, 64)
		if err != nil {
			tb.Fatal(err)
		}
		return n
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		tb.Fatal(err)
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	for _, f := range strings.Fields(after)[11:13] { // utime, stime (proc(5)), in hundredths of a second
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			tb.Fatal(err)
		}
		u.cpu += time.Duration(n) * 10 * time.Millisecond
	}
	u.most = number("status", "VmHWM") << 10
	u.in, u.out, u.written = number("io", "rchar"), number("io", "wchar"), number("io", "write_bytes")
	return u
}

// hubProcess starts a hub in a process of its own.
func hubProcess(tb testing.TB) (s *site, pid int) {
	tb.Helper()
	s = &site{t: tb, dir: tb.TempDir()}
	var err error
	if s.keys, err = OpenKeys(filepath.Join(s.dir, "keys")); err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), hubFolder+"="+s.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		tb.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		tb.Fatal(err)
	}
	s.addr = strings.TrimSpace(line)
	tb.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			tb.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			tb.Error(err)
		}
	})
	return s, cmd.Process.Pid
}

// BenchmarkAHundredWorkers is what a hub needs for a hundred workers that make
// trials of a second, with files as real ones have: the figures of the manual.
func BenchmarkAHundredWorkers(b *testing.B) {
	s, pid := hubProcess(b)
	console := make([]byte, 10<<10)
	rand.Read(console) // never fails (crypto/rand)
	for i := range 100 {
		s.work(fmt.Sprint(i), 1, func(ctx context.Context, g Given) (trial.Outcome, error) {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return trial.Outcome{}, context.Cause(ctx)
			}
			if err := os.Mkdir(g.Dir, 0o700); err != nil {
				return trial.Outcome{}, err
			}
			for name, size := range map[string]int{trial.ConsoleFile: len(console), trial.EventsFile: 1200, trial.ArgsFile: 1300} {
				head := fmt.Appendf(nil, "%s %s", name, g.Job.Case) // each is another file
				if err := os.WriteFile(filepath.Join(g.Dir, name), append(head, console[:size]...), 0o600); err != nil {
					return trial.Outcome{}, err
				}
			}
			return passes(ctx, g)
		})
	}
	c := s.client()
	jobs := jobsOf(b.N, 60)
	for n, j := range jobs {
		j.Source = strings.Repeat("x", 3500) // as long as real ones
		jobs[n] = j
	}
	before := usedBy(b, pid)
	b.ResetTimer()
	took := recorded(b, c, jobs)
	b.StopTimer()
	after := usedBy(b, pid)
	n := float64(b.N)
	b.ReportMetric(n/took.Seconds(), "jobs/s")
	b.ReportMetric((after.cpu-before.cpu).Seconds()*1000/n, "hub-ms/job")
	b.ReportMetric(float64(after.most)/1e6, "hub-MB")
	b.ReportMetric(float64(after.in-before.in)/1e3/n, "in-kB/job")
	b.ReportMetric(float64(after.out-before.out)/1e3/n, "out-kB/job")
	b.ReportMetric(float64(after.written-before.written)/1e3/n, "written-kB/job")
}

// recorded has jobs done and fetches their files, as a command does.
func recorded(b *testing.B, c *Client, jobs map[int]trial.Job) time.Duration {
	b.Helper()
	began := time.Now()
	batch, err := c.Begin(b.Context())
	if err == nil {
		err = batch.Submit(b.Context(), jobs)
	}
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	for range jobs {
		a, err := batch.Next(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		to := filepath.Join(dir, strconv.Itoa(a.Number))
		if err := os.Mkdir(to, 0o700); err != nil {
			b.Fatal(err)
		}
		if err := a.Files(b.Context(), to); err != nil {
			b.Fatal(err)
		}
		a.Recorded()
	}
	if err := batch.Close(); err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}

// BenchmarkAnArtefact is what it takes of a hub to give a worker a kernel.
func BenchmarkAnArtefact(b *testing.B) {
	s, pid := hubProcess(b)
	content := make([]byte, 34<<20) // an image and an initramfs
	rand.Read(content)              // never fails (crypto/rand)
	a := artefactOfBytes(content)
	if err := s.asks(RoleClient).send(b.Context(), a, bytes.NewReader(content)); err != nil {
		b.Fatal(err)
	}
	before := usedBy(b, pid)
	b.SetBytes(a.Size)
	for b.Loop() {
		w := s.asks(RoleWorker)
		sum := newSummer(io.Discard)
		for sum.n < a.Size {
			if err := w.fetchPart(b.Context(), a, sum); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric((usedBy(b, pid).cpu-before.cpu).Seconds()*1000/float64(b.N), "hub-ms/worker")
}
