package supervisor

import (
	"cmp"
	"context"
	"sync"
	"syscall"
	"time"

	"keelson/services/connection"
	"keelson/services/containerd"
	"keelson/services/task"
)

// fake is a containerd without containers. A task ends when the test ends it, or by a
// signal that it does not ignore.
type fake struct {
	mu      sync.Mutex
	running map[string]*fakeProcess
	created int
	tries   int           // calls of Create
	order   []string      // of starts and stop signals: "+a", "-a"
	refuse  error         // of Create
	noWait  error         // of Wait
	dies    int           // it dies in that many calls of Create
	again   int           // calls of Output.Again
	program string        // that all tasks run
	becomes string        // the program that all run after one was signalled
	hangs   bool          // it answers nothing
	listens chan struct{} // closed when it listens; nil: it does from the start
	takes   time.Duration // to create
	making  map[string]bool
	killed  int // how often it was killed
	obeys   map[syscall.Signal]bool

	sweep func(namespaces []string, used func(namespace, id string) bool) ([]containerd.Swept, error) // nil: nothing is found
}

// fakeProcess is the only process of a task.
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
	obeys := p.fake.obeys[s]
	p.fake.order = append(p.fake.order, "-"+p.id)
	p.fake.program = cmp.Or(p.fake.becomes, p.fake.program)
	p.fake.mu.Unlock()
	if obeys {
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
	return &fake{running: map[string]*fakeProcess{}, making: map[string]bool{}, obeys: map[syscall.Signal]bool{syscall.SIGTERM: true, syscall.SIGKILL: true}}
}

// add makes a task, with a process id that no process has.
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

func (f *fake) process(pid int, _ task.Placement) (task.Process, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.running {
		if p.pid == pid {
			return p, nil
		}
	}
	return nil, syscall.ESRCH
}

// task returns the channel that takes the exit code of a task.
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

func (f *fake) Sweep(_ context.Context, namespaces []string, used func(namespace, id string) bool) ([]containerd.Swept, error) {
	if f.sweep != nil {
		return f.sweep(namespaces, used)
	}
	return nil, nil
}

func (f *fake) Close() error { return nil }
