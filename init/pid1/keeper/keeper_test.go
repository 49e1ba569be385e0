package keeper

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"keelson/init/reaper"
)

var quiet = slog.New(slog.DiscardHandler)

// fake is a process that ends when it receives the signal endsOn.
type fake struct {
	done   chan struct{}
	endsOn syscall.Signal
	got    []syscall.Signal

	panics bool // the next call of Signal panics
}

func (f *fake) Age() time.Duration    { return 0 }
func (f *fake) Done() <-chan struct{} { return f.done }
func (f *fake) Status() reaper.Status { return reaper.Status{} }
func (f *fake) Signal(s syscall.Signal) error {
	if f.panics {
		f.panics = false
		panic("oh")
	}
	f.got = append(f.got, s)
	if s == f.endsOn {
		close(f.done)
	}
	return nil
}

// startKeeper starts a keeper.
func startKeeper(name string, start func() (Process, error)) *Keeper {
	k := New(name, quiet, start)
	go k.run()
	return k
}

func TestBackoff(t *testing.T) {
	var b backoff
	var got []time.Duration
	for _, up := range []time.Duration{0, 0, 0, 0, 0, 0, time.Minute, time.Second} {
		got = append(got, b.next(up))
	}
	const ms = time.Millisecond
	want := []time.Duration{100 * ms, 200 * ms, 400 * ms, 800 * ms, 1000 * ms, 1000 * ms, 100 * ms, 200 * ms}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("pauses %v, want %v", got, want)
	}
}

func TestKeeperRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var starts []time.Duration
		last := &fake{done: make(chan struct{}), endsOn: syscall.SIGTERM}
		k := startKeeper("x", func() (Process, error) {
			starts = append(starts, time.Since(began))
			switch len(starts) {
			case 1:
				return nil, errors.New("no such file")
			case 2:
				dead := &fake{done: make(chan struct{})}
				close(dead.done)
				return dead, nil
			}
			return last, nil
		})
		time.Sleep(time.Second)
		if how := k.Stop(syscall.SIGTERM, time.Second); how != "exited 0" {
			t.Errorf("the program %s", how)
		}
		const ms = time.Millisecond
		if want := []time.Duration{0, 100 * ms, 300 * ms}; !reflect.DeepEqual(starts, want) {
			t.Errorf("started at %v, want %v", starts, want)
		}
		if k.Stop(syscall.SIGTERM, time.Second) != "exited 0" {
			t.Error("a second Stop does not return the same")
		}
	})
}

func TestKeeperStops(t *testing.T) {
	for _, tc := range []struct {
		name   string
		endsOn syscall.Signal
		how    string
		got    []syscall.Signal
		took   time.Duration
	}{
		{"ends on SIGTERM", syscall.SIGTERM, "exited 0", []syscall.Signal{syscall.SIGTERM}, 0},
		{"needs SIGKILL", syscall.SIGKILL, "exited 0", []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL}, 5 * time.Second},
		{"hangs in the kernel", syscall.SIGSTOP, "does not end", []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL}, 5*time.Second + KillGrace},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &fake{done: make(chan struct{}), endsOn: tc.endsOn}
			k := startKeeper("x", func() (Process, error) { return p, nil })
			began := time.Now()
			if how := k.Stop(syscall.SIGTERM, 5*time.Second); how != tc.how || !reflect.DeepEqual(p.got, tc.got) {
				t.Errorf("%s: %s after %v", tc.name, how, p.got)
			}
			if took := time.Since(began); took != tc.took {
				t.Errorf("%s: took %v", tc.name, took)
			}
		})
	}
}

func TestKeeperStopsDuringPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := startKeeper("x", func() (Process, error) { return nil, errors.New("never") })
		synctest.Wait()
		began := time.Now()
		if how := k.Stop(syscall.SIGTERM, time.Minute); how != "did not run" || time.Since(began) != 0 {
			t.Errorf("the program %s after %v", how, time.Since(began))
		}
	})
	var none *Keeper
	if none.Stop(syscall.SIGTERM, time.Minute) != "did not run" {
		t.Error("Stop of a nil keeper does not return \"did not run\"")
	}
}

// After a panic, a keeper pauses: the program continues to run, and Stop still works.
func TestKeeperSurvivesPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{done: make(chan struct{}), endsOn: syscall.SIGTERM}
		starts, panics := 0, 0
		k := New("x", quiet, func() (Process, error) {
			if starts++; starts == 1 {
				panic("oh")
			}
			return p, nil
		})
		k.OnPanic = func(in string, value any, stack []byte) {
			panics++
			if in != "x" || value != any("oh") || len(stack) == 0 {
				t.Errorf("reported %v in %s", value, in)
			}
		}
		go k.run()
		time.Sleep(time.Second)
		p.panics = true
		if how := k.Stop(syscall.SIGTERM, time.Second); how != "exited 0" || starts != 2 || panics != 2 {
			t.Errorf("the program %s after %d starts and %d panics", how, starts, panics)
		}
	})
}

// A program that always fails in the same way is reported less and less often; another
// failure is reported immediately.
func TestFailures(t *testing.T) {
	var m failures
	var reported []int
	for range 20 {
		if report, times := m.count("exited 1", 0); report {
			reported = append(reported, times)
		}
	}
	for _, why := range []string{"exited 2", "exited 1"} {
		if report, times := m.count(why, 0); !report || times != 1 {
			t.Errorf("%s: %v, %d", why, report, times)
		}
	}
	if report, times := m.count("exited 1", steady); !report || times != 1 {
		t.Errorf("after a long run: %v, %d", report, times)
	}
	if want := []int{1, 2, 4, 8, 16}; !reflect.DeepEqual(reported, want) {
		t.Errorf("reported at %v, want %v", reported, want)
	}
}

func TestLastLine(t *testing.T) {
	d := &Log{Path: filepath.Join(t.TempDir(), "log")}
	if got := d.LastLine(); got != "" {
		t.Errorf("no log: %q", got)
	}
	text := strings.Repeat("x", 3*tailMax) + "\nwhy not\n"
	if err := os.WriteFile(d.Path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := d.LastLine(); got != ": why not" {
		t.Errorf("%q", got)
	}
	d.from = int64(len(text))
	if got := d.LastLine(); got != "" {
		t.Errorf("of an earlier run: %q", got)
	}
}
