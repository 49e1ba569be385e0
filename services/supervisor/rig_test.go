package supervisor

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"keelson/runtime/timeline"
	"keelson/services/control"
	"keelson/services/task"
)

// noOutput is for containers that print nothing: the time of a synctest bubble does not
// advance while a goroutine reads from a pipe.
type noOutput struct{ fake *fake }

func (noOutput) Stdout() string          { return "" }
func (noOutput) Stderr() string          { return "" }
func (noOutput) Created(context.Context) {}
func (o noOutput) Again()                { o.fake.again++ }
func (noOutput) Close()                  {}

// rig is a supervisor in a bubble of fake time.
type rig struct {
	*Supervisor
	*fake
	eventsMu sync.Mutex
	events   []timeline.Event
	log      strings.Builder
	healthy  sync.Map // services whose exec probes succeed
	stop     func()

	bundleChanges chan struct{}
	conditions    fakeConditions
}

// newRig makes bundles with these annotations, as JSON, and starts a supervisor.
func newRig(t *testing.T, f *fake, annotations map[string]string) *rig {
	t.Helper()
	return newRigIn(t, f, annotations, func(string) {})
}

// newRigIn calls before with the state directory first.
func newRigIn(t *testing.T, f *fake, annotations map[string]string, before func(state string)) *rig {
	t.Helper()
	dir := t.TempDir()
	before(filepath.Join(dir, "state"))
	for name, text := range annotations {
		config := `{"process":{"args":["x"],"cwd":"/"},"root":{"path":"rootfs"},"annotations":{` + text + `}}`
		if text == brokenBundle {
			config = "{"
		}
		if err := os.MkdirAll(filepath.Join(dir, "services", name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "services", name, "config.json"), []byte(config), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r := &rig{fake: f, bundleChanges: make(chan struct{})}
	begin := time.Now()
	r.Supervisor = New(Options{
		Dir: filepath.Join(dir, "services"), StateDir: filepath.Join(dir, "state"), LogDir: dir,
		Events: func(e timeline.Event) {
			r.eventsMu.Lock()
			defer r.eventsMu.Unlock()
			r.events = append(r.events, e)
		},
		Logger: slog.New(slog.NewTextHandler(&r.log, nil)),
		Dial:   f.dial,
		Now:    func() time.Duration { return time.Since(begin) },
		Random: func() float64 { return 0 },
		Power:  func(s syscall.Signal) error { return errors.New(s.String()) },
		Output: func(task.OutputOf) task.Output { return noOutput{f} },

		KillStarting: func() error { return nil },
		Changed: func(ctx context.Context, dir string) (bool, error) {
			select {
			case <-r.bundleChanges:
				return true, nil
			case <-ctx.Done():
				return false, nil
			}
		},
		WarmUp:     func() {},
		Conditions: r.conditions.watch,
		Process:    f.process,
		Exec: func(_ context.Context, _, name string, _ []string) (int, string, error) {
			if _, ok := r.healthy.Load(name); ok {
				return 0, "", nil
			}
			return 1, "not yet", nil
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Serve(ctx) }()
	r.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	synctest.Wait()
	return r
}

func (r *rig) is(t *testing.T, name, state string, restarts int) control.Service {
	t.Helper()
	synctest.Wait()
	v := r.Control(t.Context(), control.Request{Verb: control.List, Names: []string{name}})
	if len(v.Services) != 1 || v.Services[0].State != state || v.Services[0].Restarts != restarts {
		t.Errorf("%s: %+v, want %s with %d restarts", name, v, state, restarts)
		return control.Service{}
	}
	return v.Services[0]
}

func (r *rig) results(stage string) []string {
	r.eventsMu.Lock()
	defer r.eventsMu.Unlock()
	var all []string
	for _, e := range r.events {
		if e.Stage == stage {
			all = append(all, e.Result)
		}
	}
	return all
}
