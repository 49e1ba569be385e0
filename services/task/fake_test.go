package task

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"keelson/runtime/bundle"
	"keelson/services/connection"
	"keelson/services/containerd"
	"keelson/services/sockets"
)

// fake is a containerd with one task, and with asProcess the process of that.
type fake struct {
	connection.Tasks
	mu       sync.Mutex
	calls    []string
	create   error         // result of Create
	takes    time.Duration // to create
	silent   bool          // Wait never returns
	exit     chan int      // takes the exit code
	gone     chan struct{} // closed when the process has ended
	program  string        // that the process runs
	drops    bool          // the process never receives its stop signal
	below    bool          // the process has descendants
	dead     bool          // the process cannot be opened
	machine  bool          // it ends at shutdown
	survives bool          // the process does not end when containerd reports its end
}

func newFake() *fake { return &fake{exit: make(chan int, 1), gone: make(chan struct{})} }

func (f *fake) call(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
}

func (f *fake) Create(_ context.Context, s containerd.Spec) (int, error) {
	f.call("create")
	time.Sleep(f.takes)
	return 1 << 30, f.create
}

func (f *fake) Start(context.Context, string, string) error { f.call("start"); return nil }

func (f *fake) Delete(context.Context, string, string) error { f.call("delete"); return nil }

func (f *fake) Ping(context.Context) error { f.call("ping"); return nil }

func (f *fake) Close() error { return nil }

func (f *fake) Wait(ctx context.Context, _, _ string) (containerd.Exit, error) {
	exit := f.exit
	if f.silent {
		exit = nil
	}
	select {
	case code := <-exit:
		if !f.survives {
			close(f.gone)
		}
		return containerd.Exit{Code: code}, nil
	case <-ctx.Done():
		return containerd.Exit{}, ctx.Err()
	}
}

func (f *fake) Gone() <-chan struct{}         { return f.gone }
func (f *fake) Signal(s syscall.Signal) error { f.call("signal %v", s); return nil }
func (f *fake) Drops(syscall.Signal) bool     { return f.drops }
func (f *fake) KillAll(spare []string) error  { f.call("kill but %v", spare); return nil }

func (f *fake) SignalDescendants(s syscall.Signal) bool {
	f.call("signal %v below", s)
	return f.below
}

func (f *fake) KillShim() error {
	f.call("kill shim")
	return nil
}

func (f *fake) Program() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.program
}

// asProcess is the first process of the task of a fake.
type asProcess struct{ *fake }

func (asProcess) Close() {}

// noOutput is for containers that print nothing.
type noOutput struct{}

func (noOutput) Stdout() string          { return "" }
func (noOutput) Stderr() string          { return "" }
func (noOutput) Created(context.Context) {}
func (noOutput) Again()                  {}
func (noOutput) Close()                  {}

// rig is a Runner in a bubble of fake time, and what its task reports.
type rig struct {
	*fake
	ctx    context.Context
	cancel context.CancelFunc
	runner *Runner
	spec   Spec
	down   chan struct{} // closed at shutdown
	events []string
}

func newRig(t *testing.T, f *fake) *rig {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "web")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	config := `{"process":{"args":["x"],"cwd":"/"},"root":{"path":"rootfs"}}`
	if err := os.WriteFile(filepath.Join(dir, bundle.ConfigFile), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{fake: f, down: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancel(t.Context())
	begin := time.Now()
	logger := slog.New(slog.DiscardHandler)
	r.runner = NewRunner(Options{
		Connection: connection.New(connection.Options{
			Dial: func(context.Context) (connection.Tasks, error) { return f, nil }, Logger: logger,
		}),
		LogDir: dir, Logger: logger, Now: func() time.Duration { return time.Since(begin) },
		Output: func(OutputOf) Output { return noOutput{} },
		Process: func(int, Placement) (Process, error) {
			if f.dead {
				return nil, syscall.ESRCH
			}
			return asProcess{f}, nil
		},
		Down: r.down, Machine: f.machine, Notify: sockets.NewSet(nil, logger),
	})
	r.spec = Spec{Name: "web", Bundle: b, Placement: Placement{Path: b.Cgroup("web"), Others: []string{"/other"}}, Report: func(e Event) {
		f.mu.Lock()
		defer f.mu.Unlock()
		r.events = append(r.events, strings.TrimPrefix(fmt.Sprintf("%T", e), "task."))
		switch e := e.(type) {
		case Ended:
			r.events = append(r.events, e.Exit.String())
		case NotStarted:
			r.events = append(r.events, e.Err.Error())
		}
	}}
	t.Cleanup(func() {
		r.cancel()
		r.runner.Close()
	})
	return r
}

// want compares calls to containerd and to the process, and events.
func (r *rig) want(t *testing.T, calls, events string) {
	t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if got := strings.Join(r.calls, ", "); got != calls {
		t.Errorf("calls %q, want %q", got, calls)
	}
	if got := strings.Join(r.events, ", "); got != events {
		t.Errorf("events %q, want %q", got, events)
	}
}
