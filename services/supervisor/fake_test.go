package supervisor

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"keelson/runtime/timeline"
	"keelson/services/connection"
	"keelson/services/containerd"
	"keelson/services/control"
	"keelson/services/task"
)

// fake is a containerd without containers. Each task ends when its test
// says so, or by a signal it heeds.
type fake struct {
	mu      sync.Mutex
	running map[string]*fakeProcess
	created int
	tries   int           // calls of Create
	order   []string      // of starts and stop signals: "+a", "-a"
	refuse  error         // of Create
	noWait  error         // of Wait
	dies    int           // how many calls of Create it is to die in
	again   int           // how many attempts outputs were prepared for, after the first
	program string        // that all run
	turns   string        // the program that all run once one was signalled
	hangs   bool          // it answers nothing
	listens chan struct{} // closed when it listens; nil: it does from the start
	takes   time.Duration // to create
	making  map[string]bool
	killed  int // how often it was killed
	heed    map[syscall.Signal]bool
}

// fakeProcess is a task's only one.
type fakeProcess struct {
	fake *fake
	id   string
	pid  int
	end  chan int // takes the exit code
	gone chan struct{}
}

func (p *fakeProcess) Gone() <-chan struct{} { return p.gone }

func (p *fakeProcess) Signal(s syscall.Signal) error {
	p.fake.mu.Lock()
	heeds := p.fake.heed[s]
	p.fake.order = append(p.fake.order, "-"+p.id)
	p.fake.program = cmp.Or(p.fake.turns, p.fake.program)
	p.fake.mu.Unlock()
	if heeds {
		p.end <- 128 + int(s)
	}
	return nil
}

func (p *fakeProcess) KillAll([]string) error {
	select {
	case p.end <- 137:
	default:
	}
	return nil
}

func (p *fakeProcess) KillShim() error                       { return nil }
func (p *fakeProcess) Drops(syscall.Signal) bool             { return false }
func (p *fakeProcess) SignalDescendants(syscall.Signal) bool { return false }
func (p *fakeProcess) Program() string {
	p.fake.mu.Lock()
	defer p.fake.mu.Unlock()
	return p.fake.program
}
func (p *fakeProcess) Close() {}

func newFake() *fake {
	return &fake{running: map[string]*fakeProcess{}, making: map[string]bool{}, heed: map[syscall.Signal]bool{syscall.SIGTERM: true, syscall.SIGKILL: true}}
}

// add makes a task; its process id is one nobody has.
func (f *fake) add(id string) *fakeProcess {
	f.created++
	p := &fakeProcess{fake: f, id: id, pid: 1<<30 + f.created, end: make(chan int, 1), gone: make(chan struct{})}
	f.running[id] = p
	return p
}

func (f *fake) Create(ctx context.Context, s containerd.Spec) (int, error) {
	if err := f.answers(ctx); err != nil {
		return 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.making[s.ID] = true
	f.tries++
	f.mu.Unlock()
	time.Sleep(f.takes)
	f.mu.Lock()
	delete(f.making, s.ID)
	if f.dies > 0 {
		f.dies--
		return 0, containerd.ErrUnavailable
	}
	if f.refuse != nil {
		return 0, f.refuse
	}
	f.order = append(f.order, "+"+s.ID)
	return f.add(s.ID).pid, nil
}

func (f *fake) dial(ctx context.Context) (connection.Tasks, error) {
	if f.listens == nil {
		return f, nil
	}
	select {
	case <-f.listens:
		return f, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (f *fake) answers(ctx context.Context) error {
	f.mu.Lock()
	hangs := f.hangs
	f.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (f *fake) Ping(ctx context.Context) error { return f.answers(ctx) }

func (f *fake) KillDaemon() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hangs = false
	f.killed++
	return nil
}

func (f *fake) process(pid int) (task.Process, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.running {
		if p.pid == pid {
			return p, nil
		}
	}
	return nil, syscall.ESRCH
}

// task takes the exit code of a task.
func (f *fake) task(id string) chan int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.running[id].end
}

func (f *fake) Start(context.Context, string, string) error { return nil }

func (f *fake) Wait(ctx context.Context, _, id string) (containerd.Exit, error) {
	f.mu.Lock()
	p, refuse := f.running[id], f.noWait
	f.mu.Unlock()
	if refuse != nil {
		return containerd.Exit{}, refuse
	}
	select {
	case code := <-p.end:
		close(p.gone)
		return containerd.Exit{Code: code}, nil
	case <-ctx.Done():
		return containerd.Exit{}, ctx.Err()
	}
}

func (f *fake) Delete(_ context.Context, _, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.running, id)
	return nil
}

func (f *fake) List(ctx context.Context, _ string) ([]containerd.Task, error) {
	if err := f.answers(ctx); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []containerd.Task
	for id, p := range f.running {
		all = append(all, containerd.Task{ID: id, PID: p.pid, Running: true})
	}
	return all, nil
}

func (f *fake) Close() error { return nil }

// noOutput waits for no pipe, which time in a bubble would not pass.
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
	said     strings.Builder // the log
	well     sync.Map        // whose exec probes succeed
	stop     func()

	changed chan struct{} // tells who watches a bundle
}

// newRig makes bundles with the annotations given, as JSON, and supervises.
func newRig(t *testing.T, f *fake, annotations map[string]string) *rig {
	t.Helper()
	return newRigIn(t, f, annotations, func(string) {})
}

// newRigIn lets before fill the folder of states.
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
	r := &rig{fake: f, changed: make(chan struct{})}
	begin := time.Now()
	r.Supervisor = New(Options{
		Dir: filepath.Join(dir, "services"), StateDir: filepath.Join(dir, "state"), LogDir: dir,
		Events: func(e timeline.Event) {
			r.eventsMu.Lock()
			defer r.eventsMu.Unlock()
			r.events = append(r.events, e)
		},
		Logger: slog.New(slog.NewTextHandler(&r.said, nil)),
		Dial:   f.dial,
		Now:    func() time.Duration { return time.Since(begin) },
		Random: func() float64 { return 0 },
		Power:  func(s syscall.Signal) error { return errors.New(s.String()) },
		Output: func(task.OutputOf) task.Output { return noOutput{f} },

		KillStarting: func() error { return nil },
		Changed: func(ctx context.Context, dir string) (bool, error) {
			select {
			case <-r.changed:
				return true, nil
			case <-ctx.Done():
				return false, nil
			}
		},
		Process: f.process,
		Exec: func(_ context.Context, _, name string, _ []string) (int, string, error) {
			if _, well := r.well.Load(name); well {
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

func TestBackoffDoublesAndResets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake(), map[string]string{"a": ""})
		defer r.stop()
		restarts := 0
		for _, delay := range []time.Duration{100, 200, 400} {
			r.is(t, "a", "running", restarts)
			r.task("a") <- 1
			restarts++
			r.is(t, "a", "backoff", restarts)
			time.Sleep(delay*time.Millisecond - time.Millisecond)
			r.is(t, "a", "backoff", restarts)
			time.Sleep(time.Millisecond)
		}
		r.is(t, "a", "running", restarts)
		time.Sleep(10 * time.Second) // long enough to count as up
		r.task("a") <- 1
		r.is(t, "a", "backoff", restarts+1)
		time.Sleep(100 * time.Millisecond)
		r.is(t, "a", "running", restarts+1)
	})
}

func TestRestartPolicies(t *testing.T) {
	for _, tt := range []struct {
		policy string
		code   int
		state  string
	}{
		{"on-failure", 0, "exited"}, {"on-failure", 3, "backoff"}, {"always", 0, "backoff"},
		{"always", 3, "backoff"}, {"never", 0, "exited"}, {"never", 139, "failed"},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, newFake(), map[string]string{"a": `"keelson.restart":"` + tt.policy + `"`})
			defer r.stop()
			r.task("a") <- tt.code
			synctest.Wait()
			v := r.Control(t.Context(), control.Request{Verb: control.List}).Services[0]
			if v.State != tt.state {
				t.Errorf("%s after code %d: %+v, want %s", tt.policy, tt.code, v, tt.state)
			}
		})
	}
}

func TestRestartLimitEndsInFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake(), map[string]string{"a": `"keelson.restart.limit":"2/1m"`})
		defer r.stop()
		for range 2 {
			r.task("a") <- 1
			time.Sleep(time.Second)
		}
		r.task("a") <- 1
		if v := r.is(t, "a", "failed", 2); v.Error == "" {
			t.Error("no reason is given")
		}
	})
}

func TestStopTimesOutIntoKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		delete(f.heed, syscall.SIGTERM)
		r := newRig(t, f, map[string]string{"a": `"keelson.stop.timeout":"3s"`})
		begin := time.Now()
		r.stop()
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("the stop took %v", took)
		}
	})
}

func TestAnnouncements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake(), map[string]string{"a": "", "b": brokenBundle})
		if got := r.results(timeline.Degraded); !reflect.DeepEqual(got, []string{"1 of 2 services running; failed: b"}) {
			t.Errorf("degraded %q", got)
		}
		r.is(t, "b", "failed", 0)
		// Once it is mended, everything runs: that is said too.
		path := filepath.Join(r.options.Dir, "b", "config.json")
		if err := os.WriteFile(path, []byte(`{"process":{"args":["x"]},"root":{"path":"rootfs"}}`), 0o644); err != nil {
			t.Fatal(err)
		}
		if answer := r.Control(t.Context(), control.Request{Verb: control.Start, Names: []string{"b"}}); answer.Code != 0 {
			t.Errorf("start: %+v", answer)
		}
		r.stop()
		if got := r.results(timeline.Ready); !reflect.DeepEqual(got, []string{"2 services running"}) {
			t.Errorf("ready %q", got)
		}
	})
}

func TestNoServicesAreReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake(), nil)
		r.stop()
		if got := r.results(timeline.Ready); !reflect.DeepEqual(got, []string{"0 services running"}) {
			t.Errorf("ready %q", got)
		}
	})
}

func TestStartThatFailsIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.refuse = errors.New("no such file")
		r := newRig(t, f, map[string]string{"a": ""})
		defer r.stop()
		if v := r.is(t, "a", "backoff", 1); v.Error != "failed: no such file" {
			t.Errorf("status %+v", v)
		}
		if got := r.results(timeline.Degraded); len(got) != 1 {
			t.Errorf("degraded %q", got)
		}
		f.mu.Lock()
		f.refuse = nil
		f.mu.Unlock()
		time.Sleep(100 * time.Millisecond)
		if v := r.is(t, "a", "running", 1); v.Error != "" {
			t.Errorf("status %+v", v)
		}
		if got := r.results(timeline.Service); got[0] != "failed: no such file, restart 1 in 100ms; the same failure is not reported again" {
			t.Errorf("events %q", got)
		}
	})
}

// Each attempt to create a task gets FIFOs that no shim of an earlier one has.
func TestContainerdDiesInCreate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.dies = 2
		r := newRig(t, f, map[string]string{"a": ""})
		defer r.stop()
		r.is(t, "a", "running", 0)
		if f.again != 2 {
			t.Errorf("output was prepared again %d times, want 2", f.again)
		}
	})
}

// Two services with one log would write over each other's lines: the second is
// not started, and the console says why.
func TestNamesThatClash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake(), map[string]string{"a": "", "a.out": "", "containerd": ""})
		defer r.stop()
		r.is(t, "a", "running", 0)
		v := r.is(t, "a.out", "failed", 0)
		if want := "failed: services a and a.out share the file /var/log/a.out.log: rename one of them"; v.Error != want {
			t.Errorf("reason %q", v.Error)
		}
		r.is(t, "containerd", "failed", 0)
		if r.created != 1 {
			t.Errorf("%d tasks were made", r.created)
		}
	})
}

func TestOrders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake(), map[string]string{"a": "", "b": ""})
		defer r.stop()
		for _, tt := range []struct {
			verb, name, state string
			code, created     int
		}{
			{control.Start, "a", "running", 0, 2}, // runs already
			{control.Restart, "a", "running", 0, 3},
			{control.Stop, "a", "stopped", 0, 3},
			{control.Stop, "a", "stopped", 0, 3},
			{control.Restart, "a", "running", 0, 4},
			{control.Start, "none", "", control.CodeNotFound, 4},
			{control.Start, "../services/a", "", control.CodeNotFound, 4},
			{"dance", "a", "running", control.CodeUsage, 4},
			{control.PowerOff, "", "", control.CodeFailed, 4}, // the rig refuses
		} {
			answer := r.Control(t.Context(), control.Request{Verb: tt.verb, Names: []string{tt.name}})
			if answer.Code != tt.code || r.created != tt.created {
				t.Errorf("%s %s: %+v, %d created; want %+v", tt.verb, tt.name, answer, r.created, tt)
			}
			if tt.state != "" {
				r.is(t, tt.name, tt.state, 0)
			}
		}
	})
}

func TestNextSupervisorTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.add("a")
		r := newRig(t, f, map[string]string{"a": "", "b": ""})
		defer r.stop()
		r.is(t, "a", "running", 0)
		if f.created != 2 {
			t.Errorf("%d tasks, want the one of a that was there, and b's", f.created)
		}
	})
}

func TestStopDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFake(), map[string]string{"a": `"keelson.stop.timeout":"90s"`, "b": ""})
		r.stop()
		text, err := os.ReadFile(filepath.Join(r.options.StateDir, "stop-deadline"))
		if d, perr := time.ParseDuration(string(text[:max(0, len(text)-1)])); err != nil || perr != nil || d != 95*time.Second {
			t.Errorf("stop-deadline holds %q, %v", text, err)
		}
	})
}
