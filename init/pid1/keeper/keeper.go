// Package keeper keeps daemons running: it starts a program, starts it again with
// backoff when it ends, and stops it by SIGTERM, then SIGKILL. A program that never
// comes up is logged less and less often. A panic of a keeper, or of what it calls,
// costs a pause: the program it has started is not affected.
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

// Process is a child, as far as a keeper needs it.
type Process interface {
	Done() <-chan struct{}
	Age() time.Duration // since it was started
	Signal(syscall.Signal) error
	Status() reaper.Status
}

// talker is a process whose log may say why it ended.
type talker interface{ LastWords() string }

// Keeper keeps one program running until Stop. Its goroutine owns all but the first
// fields.
type Keeper struct {
	name  string
	start func() (Process, error)
	log   *slog.Logger
	// OnPanic is called after a panic of the keeper.
	OnPanic func(in string, value any, stack []byte)
	stop    chan stop
	ended   chan struct{}
	last    string // how it ended, valid once ended is closed

	process Process // nil: there is none
	wanted  *stop   // what Stop has asked for
	once    bool    // it is not started again
	pause   backoff
	misses  misses
}

// stop is a request: signal, then SIGKILL when grace is over.
type stop struct {
	signal syscall.Signal
	grace  time.Duration
}

// Set holds keepers by name until Close: nothing is started after that, not even by
// steps of the way up that have been abandoned and still run.
type Set struct {
	mu     sync.Mutex
	byName map[string]*Keeper
	closed bool
}

// Add starts one, unless the set is closed.
func (k *Set) Add(one *Keeper) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return
	}
	if k.byName == nil {
		k.byName = map[string]*Keeper{}
	}
	k.byName[one.name] = one
	go one.run()
}

// Get returns nil when there is none.
func (k *Set) Get(name string) *Keeper {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.byName[name]
}

// Pauses returns the programs that are kept, each with the pause before its last
// start.
func (k *Set) Pauses() map[string]time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := make(map[string]time.Duration, len(k.byName))
	for name, one := range k.byName {
		all[name] = time.Duration(one.pause.pause.Load())
	}
	return all
}

// Close has Add start nothing any more.
func (k *Set) Close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
}

// KillGrace is how long a process may take to end after SIGKILL. One that hangs in
// the kernel never ends.
const KillGrace = 2 * time.Second

// Resume has a keeper that has not been added take over a running process, or none
// (nil), with the pause before its last start. With once the program is not started
// again.
func (k *Keeper) Resume(p Process, pause time.Duration, once bool) {
	k.pause.pause.Store(int64(pause))
	k.process, k.once = p, once
}

// New makes a keeper that does nothing until it is added to a Set.
func New(name string, log *slog.Logger, start func() (Process, error)) *Keeper {
	return &Keeper{name: name, start: start, log: log, stop: make(chan stop), ended: make(chan struct{}),
		OnPanic: func(in string, value any, _ []byte) { log.Error("a keeper panicked", "program", in, "panic", value) }}
}

// Stop ends the program and the keeper, and returns how the program ended. A nil
// keeper has no program.
func (k *Keeper) Stop(signal syscall.Signal, grace time.Duration) string {
	if k == nil {
		return "did not run"
	}
	select {
	case k.stop <- stop{signal, grace}:
	case <-k.ended:
	}
	<-k.ended
	return k.last
}

func (k *Keeper) run() {
	defer close(k.ended)
	for !k.turn() {
	}
}

// turn waits for one end of the program and reports whether it was the last. After a
// panic the next turn continues with the process that runs.
func (k *Keeper) turn() (last bool) {
	defer func() {
		if r := recover(); r != nil {
			k.OnPanic(k.name, r, debug.Stack())
			last = k.pauseFor(k.pause.next(0))
		}
	}()
	fault.Here("keeper of " + k.name)
	why, words, up := k.live()
	if why == "" || k.once {
		return true
	}
	delay := k.pause.next(up)
	if say, times := k.misses.count(why, up); say {
		args := []any{"how", why + words, "ran", up.Round(time.Millisecond), "in", delay}
		if times > 1 {
			args = append(args, "times", times)
		}
		k.log.Error(k.name+" ended, starting it again", args...)
	}
	return k.pauseFor(delay)
}

// live starts the program, unless it runs, and returns how it ended, the last line of
// its log, and how long it ran; why is empty when it was stopped.
func (k *Keeper) live() (why, words string, up time.Duration) {
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
	if t, ok := p.(talker); ok {
		words = t.LastWords()
	}
	return why, words, up
}

// misses keeps a program that never comes up from flooding the console.
type misses struct {
	why   string
	times int
}

// count returns how often in a row a program has ended in the same way soon after its
// start, and whether to log that: the first, second, fourth, eighth time and so on.
func (m *misses) count(why string, up time.Duration) (say bool, times int) {
	if why != m.why || up >= steady {
		*m = misses{why: why}
	}
	m.times++
	return m.times&(m.times-1) == 0, m.times
}

// attend waits until p ends (false), or stops it when Stop is called (true).
func (k *Keeper) attend(p Process) bool {
	if k.wanted == nil {
		select {
		case <-p.Done():
			return false
		case s := <-k.stop:
			k.wanted = &s
		}
	}
	for _, try := range []stop{*k.wanted, {syscall.SIGKILL, KillGrace}} {
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
	if k.wanted != nil && k.process != nil { // A Stop from before a panic is still to be done.
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case s := <-k.stop:
		k.wanted = &s
	case <-timer.C:
	}
	if k.wanted == nil || k.process != nil {
		return false
	}
	k.last = "did not run"
	return true
}

// within waits for done at most d and tells whether it came.
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
	lastPause  = time.Second      // services wait for containerd, people for the supervisor
	steady     = 10 * time.Second // a program that ran so long starts over
)

// backoff is the pause before the next start: doubling, from firstPause to
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
