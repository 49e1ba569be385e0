package pid1

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/init/pid1/containerd"
	"keelson/init/pid1/environment"
	"keelson/init/pid1/handover"
	"keelson/init/reaper"
	"keelson/init/step"
	"keelson/runtime/console"
	"keelson/runtime/userspace"
)

var savedState = state{
	Phase: phaseUp, LastStep: "boot", ContainerdFiles: containerd.Files{{1, 2}, {3, 4}}, Daemons: map[string]time.Duration{"containerd": time.Second},
	Children: []reaper.Known{{Name: "boot", Pid: 7, Age: time.Minute}}, Started: []string{"boot"}, Descriptors: []int{5, 6}, Panics: []time.Duration{5},
	Unwritten: []console.Message{{Text: "x\n"}, {Text: "y\n", Raw: true}}, Env: environment.Environment{Environment: userspace.Environment{Own: []string{"mnt"}, CmdLine: "quiet"}, First: true, Before: []environment.Mount{{ID: 9, Point: "/data"}}},
}

func encoded(t *testing.T, s state) []byte {
	t.Helper()
	data, err := s.encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestStateRoundTrip(t *testing.T) {
	got, err := decode(handover.Received{Payload: encoded(t, savedState)})
	if err != nil || !reflect.DeepEqual(got, savedState) {
		t.Errorf("%+v, %v; want %+v", got, err, savedState)
	}
}

// The first requested action wins: that in the state, then the note, then the signals.
func TestActionInHandover(t *testing.T) {
	with := func(action, note string, caught ...syscall.Signal) handover.Received {
		s := savedState
		s.Action = action
		return handover.Received{Payload: encoded(t, s), Note: note, Caught: caught}
	}
	for _, tc := range []struct {
		received handover.Received
		want     string
	}{
		{with("", ""), ""}, {with("", "power off"), "power off"}, {with("", "reboot", unix.SIGUSR1), "reboot"},
		{with("halt", "reboot", unix.SIGUSR2), "halt"}, {with("", "", unix.SIGHUP, unix.SIGUSR2, unix.SIGTERM), "power off"},
	} {
		if got, err := decode(tc.received); err != nil || got.Action != tc.want {
			t.Errorf("note %q, signals %v: %q, %v; want %q", tc.received.Note, tc.received.Caught, got.Action, err, tc.want)
		}
	}
}

func TestBadState(t *testing.T) {
	unknown, start := savedState, savedState
	unknown.Action, start.Phase = "dance", phaseStart
	for name, r := range map[string]handover.Received{
		"nothing": {}, "no JSON": {Payload: []byte("{")}, "unknown note": {Payload: encoded(t, savedState), Note: "nonsense"},
		"unknown action": {Payload: encoded(t, unknown)}, "no phase": {Payload: encoded(t, start)},
	} {
		if _, err := decode(r); !errors.Is(err, handover.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// If a state is too large, console lines are left out, then the outer system's mounts.
func TestStateIsBounded(t *testing.T) {
	s := savedState
	s.Unwritten = []console.Message{{Text: strings.Repeat("x", handover.PayloadMax)}}
	data := encoded(t, s)
	if got, err := decode(handover.Received{Payload: data}); err != nil || len(got.Unwritten) > 0 || len(got.Env.Before) != 1 || len(data) > handover.PayloadMax {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	s.Env.Before = []environment.Mount{{ID: 1, Point: strings.Repeat("x", handover.PayloadMax)}}
	data = encoded(t, s)
	if got, err := decode(handover.Received{Payload: data}); err != nil || len(got.Env.Before) > 0 || !got.Env.BeforeUnknown || len(data) > handover.PayloadMax {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}

func FuzzState(f *testing.F) {
	f.Add([]byte(`{"Phase":"up","LastStep":"boot","Daemons":{"containerd":5}}`), "halt")
	f.Add([]byte(`{"Phase":""}`), "")
	f.Fuzz(func(t *testing.T, payload []byte, note string) {
		if s, err := decode(handover.Received{Payload: payload, Note: note}); err == nil && s.Phase == phaseStart {
			t.Error("the state is decoded although it would boot a second time")
		}
	})
}

func TestRemainingSteps(t *testing.T) {
	list := []step.Step{{Stage: "a"}, {Stage: "b", Name: "n"}, {Stage: "c"}}
	for _, tc := range []struct {
		step string
		done bool
		want int
	}{{"", false, 3}, {"a", false, 3}, {"a", true, 2}, {"b n", false, 2}, {"c", true, 0}, {listEnd, false, 0}, {"unknown", false, 0}} {
		if got := (&state{LastStep: tc.step, LastStepDone: tc.done}).remaining(list); len(got) != tc.want {
			t.Errorf("%+v: %d steps remain", tc, len(got))
		}
	}
}

// walk records the steps. A step of the boot that still runs during the shutdown does not
// change the state.
func TestWalkRecordsSteps(t *testing.T) {
	p := &pid1{log: quiet, reaper: reaper.New(quiet), signals: newSignals(),
		console: console.New(console.Options{Devices: []string{t.TempDir() + "/none"}, Timeline: t.TempDir() + "/timeline"})}
	defer func() { _ = p.console.Close(t.Context()) }()
	p.state.Phase = phaseUp
	p.reexecuting.Lock() // The test must not re-execute itself.
	var seen []string
	do := func(context.Context) (string, error) { seen = append(seen, p.summary().LastStep); return "", nil }
	bad := func(context.Context) (string, error) { panic("oh") }
	p.walk(t.Context(), phaseUp, []step.Step{{Stage: "a", Do: do}, {Stage: "b", Do: bad}, {Stage: "c", Do: do}})
	if want := []string{"a", "c"}; !reflect.DeepEqual(seen, want) || p.summary().LastStep != listEnd {
		t.Errorf("steps %q, then %q", seen, p.summary().LastStep)
	}
	p.state.Phase = phaseDown
	p.walk(t.Context(), phaseUp, nil)
	p.begin(phaseUp, "late")
	if p.summary().LastStep != listEnd {
		t.Errorf("step %q", p.summary().LastStep)
	}
}

func TestMayReexec(t *testing.T) {
	p := &pid1{}
	for i := range 2 * reexecMax {
		if may := p.mayReexec(time.Duration(i)); may != (i < reexecMax) {
			t.Errorf("panic %d: %v", i, may)
		}
	}
	if !p.mayReexec(reexecPeriod + 2) {
		t.Error("no re-execution after the period has passed")
	}
}
