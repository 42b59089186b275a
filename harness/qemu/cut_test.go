package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// record begins a recording of the disks that clients use.
func record(t testing.TB, clients ...*client) *Recording {
	t.Helper()
	var filters []*filter
	for _, c := range clients {
		filters = append(filters, c.f)
	}
	r, err := newRecording(t.TempDir(), filters)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// after is what the first n sectors of each disk hold when the power failed.
func after(t testing.TB, r *Recording, at Moment, c Choice, n int) string {
	t.Helper()
	dir, err := os.MkdirTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	disks, err := r.Image(t.Context(), at, c, dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, d := range disks {
		p, err := os.ReadFile(d.Path)
		if err != nil || len(p) != testDiskSize || d.Format != Raw {
			t.Fatalf("disk %+v of %d bytes, %v", d, len(p), err)
		}
		all = append(all, sectors(p[:n*SectorSize]))
	}
	return strings.Join(all, " ")
}

func last(r *Recording) Moment {
	all := r.Moments()
	return all[len(all)-1]
}

// outcomes are the different contents that seeds make of a choice.
func outcomes(t testing.TB, r *Recording, at Moment, c Choice, n int) []string {
	t.Helper()
	var all []string
	for c.Seed = range 60 {
		all = append(all, after(t, r, at, c, n))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func TestPowerCutLosesWhatWasNotFlushed(t *testing.T) {
	for _, tt := range []struct {
		name string
		disk Disk
		do   func(c *client)
		lose Loss
		torn bool
		want []string
	}{
		{"nothing lost", Disk{}, func(c *client) { c.write(0, 512, 'x') }, LoseNone, false, []string{"x..."}},
		{"not flushed", Disk{}, func(c *client) { c.write(0, 512, 'x') }, LoseAll, false, []string{"b..."}},
		{"flushed", Disk{}, func(c *client) { c.write(0, 512, 'x'); c.flush() }, LoseAll, false, []string{"x..."}},
		{"written after the flush", Disk{}, func(c *client) { c.write(0, 512, 'x'); c.flush(); c.write(0, 512, 'y') }, LoseAll, false, []string{"x..."}},
		{"FUA", Disk{}, func(c *client) { c.write(0, 512, 'x'); c.writeFUA(512, 512, 'y') }, LoseAll, false, []string{"by.."}},
		{"FUA over what was not flushed", Disk{}, func(c *client) { c.write(0, 1024, 'x'); c.writeFUA(0, 512, 'y') }, LoseSome, false, []string{"y...", "yx.."}},
		{"no write cache", Disk{WriteCache: Off}, func(c *client) { c.write(0, 512, 'x'); c.discard(0, 512) }, LoseAll, false, []string{"...."}},
		{"NVMe", Disk{Bus: NVMe}, func(c *client) { c.write(0, 512, 'x') }, LoseAll, false, []string{"x..."}},
		{"discarded", Disk{}, func(c *client) { c.discard(0, 512) }, LoseSome, false, []string{"....", "b..."}},
		{"the last ones lost", Disk{}, func(c *client) { c.write(0, 512, 'x'); c.write(512, 512, 'y') }, LoseTail, false, []string{"b...", "x...", "xy.."}},
		{"some lost", Disk{}, func(c *client) { c.write(0, 512, 'x'); c.write(512, 512, 'y') }, LoseSome, false, []string{"b...", "by..", "x...", "xy.."}},
		{"of two to one place", Disk{}, func(c *client) { c.write(0, 512, 'x'); c.write(0, 512, 'y') }, LoseSome, false, []string{"b...", "x...", "y..."}},
		{"torn", Disk{}, func(c *client) { c.write(0, 1024, 'x') }, LoseSome, true, []string{"b...", "bx..", "x...", "xx.."}},
		{"torn at the tail", Disk{}, func(c *client) { c.write(0, 512, 'x'); c.write(512, 1024, 'y') }, LoseTail, true, []string{"b...", "x...", "x.y.", "xy..", "xyy."}},
		{"not torn within a physical block", Disk{PhysicalBlockSize: 1024}, func(c *client) { c.write(512, 1024, 'x') }, LoseSome, true, []string{"b...", "b.x.", "bx..", "bxx."}},
		{"in one physical block", Disk{PhysicalBlockSize: 1024}, func(c *client) { c.write(0, 1024, 'x') }, LoseSome, true, []string{"b...", "xx.."}},
		{"a flush that was lost", Disk{}, func(c *client) {
			inForce(t, c, Fault{Do: LoseWrite, Op: FlushOp})
			c.write(0, 512, 'x')
			c.flush()
		}, LoseAll, false, []string{"b..."}},
		{"a flush that failed", Disk{}, func(c *client) {
			inForce(t, c, Fault{Do: FailRequest, Op: FlushOp})
			c.write(0, 512, 'x')
			c.flush()
		}, LoseAll, false, []string{"b..."}},
		{"a write that a fault lost", Disk{}, func(c *client) {
			inForce(t, c, Fault{Do: LoseWrite, Op: WriteOp})
			c.write(0, 512, 'x')
			c.flush()
		}, LoseNone, false, []string{"b..."}},
		{"a flush while a write is under way", Disk{}, func(c *client) {
			inForce(t, c, Fault{Do: StallRequest, Op: WriteOp})
			c.begin(nbdWrite, 0, 0, 512, bytes.Repeat([]byte{'x'}, 512))
			c.flush()
		}, LoseSome, false, []string{"b...", "x..."}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.disk.ID = "a"
			c := serveDisk(t, tt.disk)
			c.write(0, 512, 'b') // before the recording: there, flushed or not
			r := record(t, c)
			tt.do(c)
			r.Mark("end")
			r.Stop()
			if got := outcomes(t, r, last(r), Choice{Lose: tt.lose, Torn: tt.torn}, 4); !slices.Equal(got, tt.want) {
				t.Errorf("outcomes %q, want %q", got, tt.want)
			}
		})
	}
}

func TestPowerCutIsOneMomentOfAllDisks(t *testing.T) {
	// Given writes that go back and forth between two disks,
	a, b := serveDisk(t, Disk{ID: "a"}), serveDisk(t, Disk{ID: "b"})
	r := record(t, a, b)
	a.write(0, 512, '1')
	b.write(0, 512, '2')
	b.flush()
	r.Mark("half")
	a.flush()
	a.write(0, 512, '3')
	b.write(0, 512, '4')
	r.Stop()
	a.write(0, 512, '5') // later than the end

	// when the power fails after each of them, then both are as they were then.
	var got []string
	for _, m := range r.Moments() {
		got = append(got, strings.TrimSpace(fmt.Sprint(m.Op, m.Disk, " ", m.Mark))+": "+
			after(t, r, m, Choice{Lose: LoseNone}, 1)+" "+after(t, r, m, Choice{Lose: LoseAll}, 1))
	}
	want := []string{
		"writea: 1 . . .", "writeb: 1 2 . .", "flushb: 1 2 . 2", "half: 1 2 . 2", "flusha half: 1 2 1 2",
		"writea half: 3 2 1 2", "writeb half: 3 4 1 2",
	}
	if !slices.Equal(got, want) {
		t.Errorf("moments\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A model of one disk: for each sector the value that is safe, and those that
// were written since, in order.
type model struct {
	safe  []byte
	later [][]byte
}

func newModel(n int) *model { return &model{safe: make([]byte, n), later: make([][]byte, n)} }

func (m *model) write(from, to int, b byte, fua bool) {
	for i := from; i < to; i++ {
		m.later[i] = append(m.later[i], b)
		if fua {
			m.safe[i], m.later[i] = b, nil
		}
	}
}

func (m *model) flush() {
	for i, all := range m.later {
		if len(all) > 0 {
			m.safe[i], m.later[i] = all[len(all)-1], nil
		}
	}
}

func (m *model) clone() *model {
	c := newModel(len(m.safe))
	copy(c.safe, m.safe)
	for i := range m.later {
		c.later[i] = slices.Clone(m.later[i])
	}
	return c
}

func TestPowerCutAgreesWithAModel(t *testing.T) {
	const n = 16 // sectors
	for seed := range uint64(6) {
		// Given random writes, discards and flushes,
		random := rand.New(rand.NewPCG(seed, 0))
		c := serveDisk(t, Disk{ID: "a"})
		r := record(t, c)
		m := newModel(n)
		models := []*model{}
		for i := range 40 {
			from := random.IntN(n)
			to := from + 1 + random.IntN(n-from)
			at, length, b := int64(from)*SectorSize, int64(to-from)*SectorSize, byte('A'+i)
			switch random.IntN(6) {
			case 0:
				c.flush()
				m.flush()
			case 1:
				c.writeFUA(at, length, b)
				m.write(from, to, b, true)
			case 2:
				c.discard(at, length)
				m.write(from, to, 0, false)
			default:
				c.write(at, length, b)
				m.write(from, to, b, false)
			}
			models = append(models, m.clone())
		}
		r.Stop()
		moments := r.Moments()
		if len(moments) != len(models) {
			t.Fatalf("%d moments of %d requests", len(moments), len(models))
		}
		for range 8 {
			i := random.IntN(len(moments))
			m := models[i]
			for _, choice := range []Choice{{Lose: LoseNone}, {Lose: LoseAll}, {Lose: LoseTail, Torn: true, Seed: random.Uint64()}, {Lose: LoseSome, Seed: random.Uint64()}, {Lose: LoseSome, Torn: true, Seed: random.Uint64()}} {
				// when the power fails, then each sector has what it may.
				got := after(t, r, moments[i], choice, n)
				for s := range n {
					may := append([]byte{m.safe[s]}, m.later[s]...)
					switch choice.Lose {
					case LoseNone:
						may = may[len(may)-1:]
					case LoseAll:
						may = may[:1]
					}
					if have := got[s]; !bytes.ContainsRune(bytes.ReplaceAll(may, []byte{0}, []byte{'.'}), rune(have)) {
						t.Fatalf("seed %d, moment %d, %+v: sector %d has %c, may have %q", seed, i, choice, s, have, may)
					}
				}
				if again := after(t, r, moments[i], choice, n); again != got {
					t.Fatalf("the same choice gave %s, then %s", got, again)
				}
			}
		}
	}
}

func TestRecordingOutlivesItsMachine(t *testing.T) {
	c := serveDisk(t, Disk{ID: "a"})
	r := record(t, c)
	c.write(0, 512, 'x')
	if err := c.f.conn.Close(); err != nil { // as QEMU's end does
		t.Fatal(err)
	}
	<-c.gone
	if err := os.Remove(c.f.disk.Path); err != nil {
		t.Fatal(err)
	}
	if got := after(t, r, last(r), Choice{Lose: LoseNone}, 2); got != "x." {
		t.Errorf("content %s", got)
	}
}

func TestWriteUnderWayWhenTheRecordingBegins(t *testing.T) {
	c := serveDisk(t, Disk{ID: "a"})
	inForce(t, c, Fault{Do: StallRequest, Op: WriteOp})
	s := c.begin(nbdWrite, 0, 0, 512, bytes.Repeat([]byte{'x'}, 512))
	c.flush() // the write has arrived
	r := record(t, c)
	inForce(t, c)
	if e := <-s.done; e != 0 {
		t.Fatal(e)
	}
	c.flush()
	if got := after(t, r, last(r), Choice{Lose: LoseAll}, 2); got != "x." {
		t.Errorf("content %s", got)
	}
}

func TestWriteThatWasGivenUpIsNotUnderWay(t *testing.T) {
	c := serveDisk(t, Disk{ID: "a"})
	r := record(t, c)
	inForce(t, c, Fault{Do: StallRequest, Op: WriteOp, Count: 1})
	s := c.begin(nbdWrite, 0, 0, 512, bytes.Repeat([]byte{'x'}, 512))
	c.flush() // the write has arrived
	c.f.mu.Lock()
	c.f.release(true)
	c.f.mu.Unlock()
	if e := <-s.done; e != syscall.EIO {
		t.Fatal(e)
	}
	c.write(0, 512, 'y') // the guest tries again
	if got := after(t, r, last(r), Choice{Lose: LoseNone}, 2); got != "y." {
		t.Errorf("content %s", got)
	}
}

func TestDiskIsRecordedOnceAtATime(t *testing.T) {
	c := serveDisk(t, Disk{ID: "a"})
	first := record(t, c)
	if _, err := newRecording(t.TempDir(), []*filter{c.f}); err == nil || !strings.Contains(err.Error(), "disk a is being recorded") {
		t.Errorf("second recording: %v", err)
	}
	first.Stop()
	second := record(t, c)
	c.write(0, 512, 'x')
	if len(first.Moments()) != 0 || len(second.Moments()) != 1 {
		t.Errorf("moments %v, then %v", first.Moments(), second.Moments())
	}
}

func TestImageThatCanNotBe(t *testing.T) {
	c := serveDisk(t, Disk{ID: "a"})
	r := record(t, c)
	c.write(0, 512, 'x')
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name   string
		ctx    context.Context
		at     Moment
		choice Choice
		want   string
	}{
		{"no loss", t.Context(), Moment{}, Choice{}, "want none, all, tail or some"},
		{"torn without loss", t.Context(), Moment{}, Choice{Lose: LoseNone, Torn: true}, "nothing is torn"},
		{"later than the end", t.Context(), Moment{At: 3}, Choice{Lose: LoseNone}, "the recording has 2"},
		{"cancelled", cancelled, Moment{At: 2}, Choice{Lose: LoseNone}, "canceled"},
	} {
		dir := t.TempDir()
		if _, err := r.Image(tt.ctx, tt.at, tt.choice, dir); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s: left behind: %v, %v", tt.name, left, err)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.raw"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Image(t.Context(), Moment{}, Choice{Lose: LoseAll}, dir); !errors.Is(err, os.ErrExist) {
		t.Errorf("over a file: %v, want that it exists", err)
	}
}

func TestLayersHoldWhatWasWrittenToThem(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "image")
	const size = 40 << 20 // several pages of a sectorSet
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 0))
	want := make([]byte, size)
	all, err := openImage(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		for range 50 {
			at := random.Int64N(size/SectorSize) * SectorSize
			n := min(size-at, (1+random.Int64N(300))*SectorSize)
			data := bytes.Repeat([]byte{byte(random.IntN(255))}, int(n))
			if random.IntN(4) == 0 {
				clear(data)
				err = all.zero(at, n)
			} else {
				err = all.write(data, at)
			}
			if err != nil {
				t.Fatal(err)
			}
			copy(want[at:], data)
		}
		got := make([]byte, size)
		if err := all.read(got, 0); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("with %d layers: another content, %v", i+1, err)
		}
		if i < 3 {
			if all, err = all.add(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
	out, err := os.Create(filepath.Join(dir, "copy"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(all.copyTo(t.Context(), out), all.flatten(t.Context()), out.Close(), all.release()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, out.Name()} {
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: another content, %v", name, err)
		}
	}
}
