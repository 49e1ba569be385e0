package pid1

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"keelson/init/reaper"
	"keelson/init/step"
	"keelson/runtime/console"
)

var quiet = slog.New(slog.DiscardHandler)

// fake is a process that ends when it gets the signal it heeds.
type fake struct {
	done  chan struct{}
	heeds syscall.Signal
	got   []syscall.Signal

	panics bool // the next signal does
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
	if s == f.heeds {
		close(f.done)
	}
	return nil
}

// kept runs a keeper.
func kept(name string, start func() (process, error)) *keeper {
	k := newKeeper(name, quiet, start)
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

func TestKeeperStartsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var starts []time.Duration
		last := &fake{done: make(chan struct{}), heeds: syscall.SIGTERM}
		k := kept("x", func() (process, error) {
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
			t.Errorf("it %s", how)
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
		name  string
		heeds syscall.Signal
		how   string
		got   []syscall.Signal
		took  time.Duration
	}{
		{"heeds SIGTERM", syscall.SIGTERM, "exited 0", []syscall.Signal{syscall.SIGTERM}, 0},
		{"needs SIGKILL", syscall.SIGKILL, "exited 0", []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL}, 5 * time.Second},
		{"hangs in the kernel", syscall.SIGSTOP, "does not end", []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL}, 5*time.Second + killGrace},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &fake{done: make(chan struct{}), heeds: tc.heeds}
			k := kept("x", func() (process, error) { return p, nil })
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

func TestKeeperStopsWhilePausing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := kept("x", func() (process, error) { return nil, errors.New("never") })
		synctest.Wait()
		began := time.Now()
		if how := k.Stop(syscall.SIGTERM, time.Minute); how != "did not run" || time.Since(began) != 0 {
			t.Errorf("it %s after %v", how, time.Since(began))
		}
	})
	var none *keeper
	if none.Stop(syscall.SIGTERM, time.Minute) != "did not run" {
		t.Error("nothing kept cannot be stopped")
	}
}

// A panic costs a keeper a pause: what ran goes on, and what it was told is
// done.
func TestKeeperOutlivesAPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fake{done: make(chan struct{}), heeds: syscall.SIGTERM}
		starts, told := 0, 0
		k := newKeeper("x", quiet, func() (process, error) {
			if starts++; starts == 1 {
				panic("oh")
			}
			return p, nil
		})
		k.panic = func(in string, value any, stack []byte) {
			told++
			if in != "x" || value != any("oh") || len(stack) == 0 {
				t.Errorf("told of %v in %s", value, in)
			}
		}
		go k.run()
		time.Sleep(time.Second)
		p.panics = true
		if how := k.Stop(syscall.SIGTERM, time.Second); how != "exited 0" || starts != 2 || told != 2 {
			t.Errorf("it %s after %d starts and %d panics", how, starts, told)
		}
	})
}

// A program that never comes up is told of less and less often, one that fails
// in another way at once.
func TestMisses(t *testing.T) {
	var m misses
	var said []int
	for range 20 {
		if say, times := m.count("exited 1", 0); say {
			said = append(said, times)
		}
	}
	for _, why := range []string{"exited 2", "exited 1"} {
		if say, times := m.count(why, 0); !say || times != 1 {
			t.Errorf("%s: %v, %d", why, say, times)
		}
	}
	if say, times := m.count("exited 1", steady); !say || times != 1 {
		t.Errorf("after a long life: %v, %d", say, times)
	}
	if want := []int{1, 2, 4, 8, 16}; !reflect.DeepEqual(said, want) {
		t.Errorf("said at %v, want %v", said, want)
	}
}

func TestSignals(t *testing.T) {
	s := newSignals()
	said := make(chan string, 8)
	for _, sig := range []os.Signal{unix.SIGHUP, unix.SIGUSR2, unix.SIGINT, unix.SIGINT, unix.SIGUSR1} {
		s.incoming <- sig
	}
	go s.watch(func(m string) { said <- m })
	<-s.asked
	if s.chosen() != powerOff {
		t.Errorf("action %v", s.chosen())
	}
	for _, later := range []string{"reboot", "halt"} { // Each once.
		if m := <-said; !strings.Contains(m, later) || !strings.Contains(m, "power off") {
			t.Errorf("said %q", m)
		}
	}
	want := map[os.Signal]action{unix.SIGUSR1: halt, unix.SIGUSR2: powerOff, unix.SIGTERM: reboot, unix.SIGINT: reboot}
	if !reflect.DeepEqual(actions, want) {
		t.Errorf("signals mean %v", actions)
	}
}

func TestFailedUnpacking(t *testing.T) {
	for record, want := range map[string]string{
		"0,123,456,-;Initramfs unpacking failed: write error\n SUBSYSTEM=x\n":           "Initramfs unpacking failed: write error",
		"6,1,2,-;rootfs image is not initramfs (no cpio magic); looks like an initrd\n": "rootfs image is not initramfs (no cpio magic); looks like an initrd",
		"30,1,2,-;somebody says Initramfs unpacking failed\n":                           "",
		"6,1,2,-;Run /init as init process\n":                                           "",
		"":                                                                              "", ";": "", "x;Initramfs unpacking failed": "",
	} {
		if got, ok := failedUnpacking(record); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v", record, got, ok)
		}
	}
}

func FuzzFailedUnpacking(f *testing.F) {
	f.Add("0,123,456,-;Initramfs unpacking failed: write error\n")
	f.Fuzz(func(t *testing.T, record string) {
		if text, ok := failedUnpacking(record); ok && !strings.Contains(record, text) {
			t.Fatalf("%q gives %q", record, text)
		}
	})
}

func TestUnpackingVerdict(t *testing.T) {
	const failed = "Initramfs unpacking failed: "
	ours, ended := unpacking{begun: true}, unpacking{begun: true, whole: true}
	for _, tc := range []struct {
		u             unpacking
		says          string
		warning, fail string
	}{
		{unpacking{}, "", "", ""},
		{ended, "", "", ""},
		{ended, "invalid magic at start of compressed archive", "image is complete", ""},
		{ended, "ZSTD-compressed data is truncated", "image is complete", ""},
		{ended, "write error", "image is complete", ""},
		{ours, "", "", "ends before its last entry"},
		{ours, "invalid magic at start of compressed archive", "", "truncated or corrupt"},
		{ours, "ZSTD-compressed data is truncated", "", "truncated or corrupt"},
		{ours, "write error", "", "has 469 MB of memory"},
		{unpacking{}, "write error", "", "has 469 MB of memory"},
		{unpacking{}, "Out of memory while allocating ZSTD_DStream", "", "has 469 MB of memory"},
		{unpacking{}, "XZ decompressor ran out of memory", "", "has 469 MB of memory"},
		{unpacking{}, "Could not allocate output buffer", "", "has 469 MB of memory"},
		{unpacking{}, "invalid magic at start of compressed archive", "image is complete", ""},
		{unpacking{}, "junk within compressed archive", "image is complete", ""},
		{unpacking{}, "broken padding", "image is complete", ""},
		{unpacking{}, "compression method lz4 not configured", "image is complete", ""},
		{unpacking{}, "ZSTD-compressed data is truncated", "", "truncated or corrupt"},
		{unpacking{}, "junk at the end of compressed archive", "", "truncated or corrupt"},
		{unpacking{}, "no cpio magic", "", "truncated or corrupt"},
		{unpacking{}, "crc error", "", "truncated or corrupt"},
		{unpacking{}, "words that no kernel has said yet", "", "truncated or corrupt"},
	} {
		if tc.u.complaint = tc.says; tc.says != "" {
			tc.u.complaint = failed + tc.says
		}
		warning, err := tc.u.verdict(func() string { return "469 MB" })
		if (warning == "") != (tc.warning == "") || !strings.Contains(warning, tc.warning) || !strings.Contains(warning, tc.says) && warning != "" {
			t.Errorf("%+v: warning %q", tc.u, warning)
		}
		if (err == nil) != (tc.fail == "") || err != nil && (!errors.Is(err, ErrIncompleteRoot) || !strings.Contains(err.Error(), tc.fail) || !strings.Contains(err.Error(), tc.says)) {
			t.Errorf("%+v: error %v", tc.u, err)
		}
		if err != nil && strings.Contains(err.Error(), "memory") != (tc.fail == "has 469 MB of memory") {
			t.Errorf("%+v: wrong cause: %v", tc.u, err)
		}
	}
}

func TestComplaintInAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kmsg")
	if err := os.WriteFile(path, []byte("0,1,2,-;Initramfs unpacking failed: write error\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := complaint(path); err != nil || got != "Initramfs unpacking failed: write error" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := complaint(path + ".none"); err == nil {
		t.Error("no word of a kernel log that is missing")
	}
}

func TestMemTotal(t *testing.T) {
	for text, want := range map[string]string{
		"MemTotal:         223744 kB\nMemFree: 1 kB\n": "218 MB", "": "an unknown amount", "MemTotal:": "an unknown amount", "MemTotal: x kB": "an unknown amount",
	} {
		if got := memTotalIn(text); got != want {
			t.Errorf("%q: %s", text, got)
		}
	}
}

func TestStopDeadline(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := stopDeadline(fifo); got != stopDefault {
		t.Errorf("a fifo: %v", got)
	}
	path := filepath.Join(t.TempDir(), "stop-deadline")
	if got := stopDeadline(path); got != stopDefault {
		t.Errorf("no file: %v", got)
	}
	for text, want := range map[string]time.Duration{"35s\n": 35 * time.Second, "3h": stopMax, "-1s": stopDefault, "soon": stopDefault, "": stopDefault} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := stopDeadline(path); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestCheckWritable(t *testing.T) {
	dir := t.TempDir()
	if err := checkWritable(dir); err != nil {
		t.Error(err)
	}
	missing := filepath.Join(dir, "run")
	if err := checkWritable(dir, missing); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("error %v", err)
	}
}

func TestLastWords(t *testing.T) {
	d := &daemon{log: filepath.Join(t.TempDir(), "log")}
	if got := d.lastWords(); got != "" {
		t.Errorf("no log: %q", got)
	}
	text := strings.Repeat("x", 3*wordsLimit) + "\nwhy not\n"
	if err := os.WriteFile(d.log, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := d.lastWords(); got != ": why not" {
		t.Errorf("%q", got)
	}
	d.from = int64(len(text))
	if got := d.lastWords(); got != "" {
		t.Errorf("of an earlier run: %q", got)
	}
}

// A step that hangs in the kernel on the way up does not keep the system up,
// and can start nothing any more.
func TestGoesDownWhenTheWayUpHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pid1{log: quiet, console: console.New(console.Options{Devices: []string{t.TempDir() + "/none"}}),
			signals: newSignals(), reaper: reaper.New(quiet)}
		defer func() { _ = p.console.Close(t.Context()) }()
		hangs := make(chan struct{})
		go p.signals.ask(halt)
		began := time.Now()
		p.stayUp([]step.Step{{Stage: "x", Quiet: true, Do: func(context.Context) (string, error) {
			<-hangs
			p.keepers.add(newKeeper("late", quiet, func() (process, error) { panic("started") }))
			return "", nil
		}}})
		if took := time.Since(began); p.signals.chosen() != halt || took > time.Minute {
			t.Errorf("%v after %v", p.signals.chosen(), took)
		}
		p.keepers.close()
		close(hangs)
		synctest.Wait()
		if p.keepers.get("late") != nil || p.keepers.get("late").Stop(syscall.SIGTERM, time.Second) != "did not run" {
			t.Error("something was started on the way down")
		}
	})
}
