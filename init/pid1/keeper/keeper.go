// Package keeper keeps daemons running: it starts a program, restarts it with backoff
// when it ends, and stops it with SIGTERM, then SIGKILL. A program that fails again and
// again is logged less and less often. After a panic, a keeper pauses and continues; the
// program that it has started is not affected.
//
// Durations are elapsed time. Sources: signal(7), wait(2).
package keeper

import (
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"keelson/init/reaper"
	"keelson/runtime/fault"
)

// Process is the part of a child that a keeper uses.
type Process interface {
	Done() <-chan struct{}
	Age() time.Duration // since it was started
	Signal(syscall.Signal) error
	Status() reaper.Status
}

// lastLiner is a process with a log, whose last line may say why the process ended.
type lastLiner interface{ LastLine() string }

// Keeper keeps one program running until Stop. Its goroutine owns all but the first
// fields.
type Keeper struct {
	name  string
	start func() (Process, error)
	log   *slog.Logger
	// OnPanic is called after a panic of the keeper.
	OnPanic func(in string, value any, stack []byte)
	stop    chan stopRequest
	ended   chan struct{}
	last    string // how the program ended; valid once ended is closed

	process   Process      // nil if the program does not run
	requested *stopRequest // request of Stop
	noRestart bool         // the program is not started again
	pause     backoff
	failures  failures
}

// stopRequest asks for signal to be sent and, after grace, SIGKILL.
type stopRequest struct {
	signal syscall.Signal
	grace  time.Duration
}

// Set holds keepers by name. After Close nothing is started, not even by abandoned steps
// of the boot that still run.
type Set struct {
	mu     sync.Mutex
	byName map[string]*Keeper
	closed bool
}

// Add adds a keeper and starts it, unless the set is closed.
func (k *Set) Add(keeper *Keeper) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return
	}
	if k.byName == nil {
		k.byName = map[string]*Keeper{}
	}
	k.byName[keeper.name] = keeper
	go keeper.run()
}

// Get returns a keeper, or nil if there is none of that name.
func (k *Set) Get(name string) *Keeper {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.byName[name]
}

// Pauses returns, for each program, the pause before its last start.
func (k *Set) Pauses() map[string]time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := make(map[string]time.Duration, len(k.byName))
	for name, keeper := range k.byName {
		all[name] = time.Duration(keeper.pause.pause.Load())
	}
	return all
}

// Close makes Add do nothing from now on.
func (k *Set) Close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
}

// KillGrace is how long a process may take to end after SIGKILL. One that hangs in
// the kernel never ends.
const KillGrace = 2 * time.Second

// Resume makes a keeper that has not been added take over a running process, or none
// (nil), with the pause before its last start. With noRestart, the program is not started
// again.
func (k *Keeper) Resume(p Process, pause time.Duration, noRestart bool) {
	k.pause.pause.Store(int64(pause))
	k.process, k.noRestart = p, noRestart
}

// New returns a keeper that does nothing until it is added to a Set.
func New(name string, log *slog.Logger, start func() (Process, error)) *Keeper {
	return &Keeper{name: name, start: start, log: log, stop: make(chan stopRequest), ended: make(chan struct{}),
		OnPanic: func(in string, value any, _ []byte) { log.Error("a keeper panicked", "program", in, "panic", value) }}
}

// Stop ends the program and the keeper, and returns how the program ended. A nil
// keeper has no program.
func (k *Keeper) Stop(signal syscall.Signal, grace time.Duration) string {
	if k == nil {
		return "did not run"
	}
	select {
	case k.stop <- stopRequest{signal, grace}:
	case <-k.ended:
	}
	<-k.ended
	return k.last
}

func (k *Keeper) run() {
	defer close(k.ended)
	for !k.cycle() {
	}
}

// cycle runs the program once and reports whether that was the last time. After a panic,
// the next cycle continues with the running process.
func (k *Keeper) cycle() (last bool) {
	defer func() {
		if r := recover(); r != nil {
			k.OnPanic(k.name, r, debug.Stack())
			last = k.pauseFor(k.pause.next(0))
		}
	}()
	fault.Here("keeper of " + k.name)
	why, lastLine, up := k.runProgram()
	if why == "" || k.noRestart {
		return true
	}
	delay := k.pause.next(up)
	if report, times := k.failures.count(why, up); report {
		args := []any{"how", why + lastLine, "ran", up.Round(time.Millisecond), "in", delay}
		if times > 1 {
			args = append(args, "times", times)
		}
		k.log.Error(k.name+" ended, restarting it", args...)
	}
	return k.pauseFor(delay)
}

// runProgram starts the program, unless it runs, and returns how it ended, the last line
// of its log, and how long it ran. If the program was stopped, why is empty.
func (k *Keeper) runProgram() (why, lastLine string, up time.Duration) {
	if k.process == nil {
		p, err := k.start()
		if err != nil {
			return err.Error(), "", 0
		}
		k.process = p
	}
	if k.attend(k.process) {
		return "", "", 0
	}
	p := k.process
	k.process = nil
	up, why = p.Age(), p.Status().String()
	k.last = why
	if t, ok := p.(lastLiner); ok {
		lastLine = t.LastLine()
	}
	return why, lastLine, up
}

// failures limits the messages about a program that fails again and again.
type failures struct {
	why   string
	times int
}

// count counts how often in a row a program has ended in the same way soon after its
// start. report is true at the first, second, fourth, eighth time and so on.
func (m *failures) count(why string, up time.Duration) (report bool, times int) {
	if why != m.why || up >= steady {
		*m = failures{why: why}
	}
	m.times++
	return m.times&(m.times-1) == 0, m.times
}

// attend waits until p ends and returns false, or stops p when Stop is called and returns
// true.
func (k *Keeper) attend(p Process) bool {
	if k.requested == nil {
		select {
		case <-p.Done():
			return false
		case s := <-k.stop:
			k.requested = &s
		}
	}
	for _, try := range []stopRequest{*k.requested, {syscall.SIGKILL, KillGrace}} {
		if err := p.Signal(try.signal); err != nil {
			k.log.Error("cannot stop a program", "program", k.name, "error", err)
		}
		if Within(p.Done(), try.grace) {
			k.last = p.Status().String()
			return true
		}
	}
	k.last = "does not end"
	return true
}

// pauseFor waits, and reports whether Stop was called meanwhile.
func (k *Keeper) pauseFor(d time.Duration) bool {
	if k.requested != nil && k.process != nil { // Stop was called before a panic: stop the program first.
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case s := <-k.stop:
		k.requested = &s
	case <-timer.C:
	}
	if k.requested == nil || k.process != nil {
		return false
	}
	k.last = "did not run"
	return true
}

// Within waits for done, at most for d, and reports whether done was closed.
func Within(done <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

const (
	firstPause = 100 * time.Millisecond
	lastPause  = time.Second      // short: services wait for containerd, people for the supervisor
	steady     = 10 * time.Second // after running that long, a program starts again with firstPause
)

// backoff computes the pause before the next start: it doubles from firstPause to
// lastPause.
type backoff struct{ pause atomic.Int64 }

func (b *backoff) next(up time.Duration) time.Duration {
	pause := min(2*time.Duration(b.pause.Load()), lastPause)
	if pause == 0 || up >= steady {
		pause = firstPause
	}
	b.pause.Store(int64(pause))
	return pause
}
