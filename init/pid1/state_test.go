package pid1

import (
	"context"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/init/reaper"
	"keelson/init/step"
	"keelson/runtime/console"
)

var handed = state{
	Phase: phaseUp, Step: "boot", Folders: places{{1, 2}, {3, 4}}, Kept: map[string]time.Duration{"containerd": time.Second},
	Children: []reaper.Known{{Name: "boot", Pid: 7, Age: time.Minute}}, Begun: []string{"boot"}, Panics: []time.Duration{5},
	Unsaid: []console.Message{{Text: "x\n"}, {Text: "y\n", Raw: true}}, First: true, Own: []string{"mnt"}, Before: []mounted{{9, "/data"}},
}

func encoded(t testing.TB, s state, late string) []byte {
	t.Helper()
	magic, rest, err := s.encode()
	if err != nil {
		t.Fatal(err)
	}
	slots := late + strings.Repeat("\x00", lateSize+caughtSize-len(late))
	return append(append(magic, slots...), rest...)
}

func TestHandover(t *testing.T) {
	got, err := decode(encoded(t, handed, ""))
	if err != nil || !reflect.DeepEqual(got, handed) {
		t.Errorf("%+v, %v; want %+v", got, err, handed)
	}
	if p := got.place(); p.machine || !p.first || p.unknown || p.before[0].ID != 9 || p.before[0].Mountpoint != "/data" {
		t.Errorf("place %+v", p)
	}
	for late, want := range map[string]string{"power off": "power off", "reboot": "reboot"} {
		if got, err := decode(encoded(t, handed, late)); err != nil || got.Action != want {
			t.Errorf("asked late for %s: %q, %v", late, got.Action, err)
		}
	}
	signalled := encoded(t, handed, "")
	signalled[caughtAt+int(unix.SIGHUP)], signalled[caughtAt+int(unix.SIGUSR2)] = 1, 1
	if got, err := decode(append(signalled, 0, 0)); err != nil || got.Action != powerOff.name {
		t.Errorf("signalled late: %q, %v", got.Action, err)
	}
	first := handed
	first.Action = "halt"
	if got, err := decode(encoded(t, first, "reboot")); err != nil || got.Action != "halt" {
		t.Errorf("the first action counts: %q, %v", got.Action, err)
	}
}

// A signal that comes when the Go runtime can do nothing for it any more is
// caught all the same; afterwards the runtime has them again.
func TestCaught(t *testing.T) {
	s := newSignals()
	s.listen()
	h, err := newHeir()
	if err != nil {
		t.Fatal(err)
	}
	release, err := catchInto(h.caught())
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		for _, sig := range []unix.Signal{unix.SIGUSR1, unix.SIGTERM} {
			if err := unix.Kill(os.Getpid(), sig); err != nil {
				t.Error(err)
			}
		}
	}
	for h.caught()[unix.SIGUSR1] == 0 || h.caught()[unix.SIGTERM] == 0 {
		time.Sleep(time.Millisecond) // Other threads take them.
	}
	for n, came := range h.caught() {
		if want := n == int(unix.SIGUSR1) || n == int(unix.SIGTERM); (came != 0) != want {
			t.Errorf("signal %d: %d", n, came)
		}
	}
	if len(s.incoming) > 0 {
		t.Errorf("the runtime took %v", <-s.incoming)
	}
	release()
	s.takeCaught(h.caught())
	if s.chosen() != halt {
		t.Errorf("action %v", s.chosen())
	}
	if err := unix.Kill(os.Getpid(), unix.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	for <-s.incoming != unix.SIGUSR2 { // One of the others may have been on its way still.
	}
}

func TestBadHandover(t *testing.T) {
	good := encoded(t, handed, "")
	odd := handed
	odd.Action = "dance"
	start := handed
	start.Phase = phaseStart
	for name, data := range map[string][]byte{
		"nothing": nil, "short": good[:bodyAt-1], "torn": good[:len(good)-1],
		"another magic": append([]byte("x"), good[1:]...), "late nonsense": encoded(t, handed, "nonsense"),
		"unknown action": encoded(t, odd, ""), "no phase": encoded(t, start, ""),
	} {
		if _, err := decode(data); !errors.Is(err, errHandover) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range good {
		if i >= lateAt && i < headAt {
			continue
		}
		bad := append([]byte(nil), good...)
		bad[i] ^= 1
		if _, err := decode(bad); err == nil {
			t.Fatalf("byte %d was changed, and nobody noticed", i)
		}
	}
}

// What is too large is left out by its worth.
func TestHandoverIsBounded(t *testing.T) {
	s := handed
	s.Unsaid = []console.Message{{Text: strings.Repeat("x", handoverLimit)}}
	data := encoded(t, s, "")
	if got, err := decode(data); err != nil || len(got.Unsaid) > 0 || len(got.Before) != 1 || len(data) > handoverLimit {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	s.Before = []mounted{{1, strings.Repeat("x", handoverLimit)}}
	data = encoded(t, s, "")
	if got, err := decode(data); err != nil || len(got.Before) > 0 || !got.Unknown || len(data) > handoverLimit {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}

func FuzzHandover(f *testing.F) {
	f.Add(encoded(f, handed, "halt"))
	f.Add([]byte(handoverMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := decode(data); err == nil && s.Phase == phaseStart {
			t.Error("it begins anew")
		}
	})
}

// A handover goes through a file in memory; what is asked for late comes along.
func TestHeir(t *testing.T) {
	h, err := newHeir()
	if err != nil {
		t.Fatal(err)
	}
	h.hear(powerOff)
	if err := h.write(handed); err != nil {
		t.Fatal(err)
	}
	got, err := h.read()
	if err != nil || got.Action != powerOff.name || got.Step != handed.Step {
		t.Errorf("%+v, %v", got, err)
	}
}

// Who sets the variable, as by the kernel's command line, begins anew.
func TestInheritance(t *testing.T) {
	file, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, value := range []string{"", "x", "-1", "0", "1", "99999", "3"} {
		t.Setenv(heirVariable, value)
		if h, ok := inheritance(); ok && value != "3" {
			t.Errorf("%q: %v", value, h)
		}
	}
	var none *heir
	none.hear(halt)
}

func TestLeft(t *testing.T) {
	list := []step.Step{{Stage: "a"}, {Stage: "b", Name: "n"}, {Stage: "c"}}
	for _, tc := range []struct {
		step string
		done bool
		want int
	}{{"", false, 3}, {"a", false, 3}, {"a", true, 2}, {"b n", false, 2}, {"c", true, 0}, {listEnd, false, 0}, {"unknown", false, 0}} {
		if got := (&state{Step: tc.step, Done: tc.done}).left(list); len(got) != tc.want {
			t.Errorf("%+v: %d left", tc, len(got))
		}
	}
}

// A step that was left behind on the way up changes nothing of what is known of
// the way down.
func TestWalkTellsTheState(t *testing.T) {
	p := &pid1{log: quiet, reaper: reaper.New(quiet), signals: newSignals(),
		console: console.New(console.Options{Devices: []string{t.TempDir() + "/none"}, Timeline: t.TempDir() + "/timeline"})}
	defer func() { _ = p.console.Close(t.Context()) }()
	p.state.Phase = phaseUp
	p.again.Lock() // It must not execute anything here.
	var seen []string
	do := func(context.Context) (string, error) { seen = append(seen, p.summary().Step); return "", nil }
	bad := func(context.Context) (string, error) { panic("oh") }
	p.walk(t.Context(), phaseUp, []step.Step{{Stage: "a", Do: do}, {Stage: "b", Do: bad}, {Stage: "c", Do: do}})
	if want := []string{"a", "c"}; !reflect.DeepEqual(seen, want) || p.summary().Step != listEnd {
		t.Errorf("steps %q, then %q", seen, p.summary().Step)
	}
	p.state.Phase = phaseDown
	p.walk(t.Context(), phaseUp, nil)
	p.begin(phaseUp, "late")
	if p.summary().Step != listEnd {
		t.Errorf("step %q", p.summary().Step)
	}
}

func TestMayExecute(t *testing.T) {
	p := &pid1{}
	for i := range 2 * againMost {
		if may := p.mayExecute(time.Duration(i)); may != (i < againMost) {
			t.Errorf("panic %d: %v", i, may)
		}
	}
	if !p.mayExecute(againPeriod + 2) {
		t.Error("not even after a while")
	}
}
