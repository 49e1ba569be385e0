package pid1

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

// process is a child, as far as a keeper cares.
type process interface {
	Done() <-chan struct{}
	Age() time.Duration // since it was started
	Signal(syscall.Signal) error
	Status() reaper.Status
}

// talker is a process whose log may tell why it ended.
type talker interface{ lastWords() string }

// keeper keeps one program running until told to stop it. Its goroutine owns
// all but the first fields.
type keeper struct {
	name  string
	start func() (process, error)
	log   *slog.Logger
	panic func(in string, value any, stack []byte) // is told of a panic
	stop  chan stop
	ended chan struct{}
	last  string // how it ended, valid once ended is closed

	process process // nil: there is none
	wanted  *stop   // what it was told
	once    bool    // it is not to be started again
	pause   backoff
	misses  misses
}

// stop is a request: signal, then SIGKILL when grace is over.
type stop struct {
	signal syscall.Signal
	grace  time.Duration
}

// keepers are PID 1's, by name, until it goes down: nothing is started then. Steps
// of the way up that were left behind may still come here.
type keepers struct {
	mu     sync.Mutex
	byName map[string]*keeper
	closed bool
}

func (k *keepers) add(one *keeper) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return
	}
	if k.byName == nil {
		k.byName = map[string]*keeper{}
	}
	k.byName[one.name] = one
	go one.run()
}

// get is nil when there is none.
func (k *keepers) get(name string) *keeper {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.byName[name]
}

// pauses are the programs that are kept, each with the pause before it was
// started last.
func (k *keepers) pauses() map[string]time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := make(map[string]time.Duration, len(k.byName))
	for name, one := range k.byName {
		all[name] = time.Duration(one.pause.pause.Load())
	}
	return all
}

func (k *keepers) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
}

// killGrace is how long a process may take to end after SIGKILL. One that
// hangs in the kernel never does.
const killGrace = 2 * time.Second

// newKeeper does nothing until it runs.
func newKeeper(name string, log *slog.Logger, start func() (process, error)) *keeper {
	return &keeper{name: name, start: start, log: log, stop: make(chan stop), ended: make(chan struct{}),
		panic: func(in string, value any, _ []byte) { log.Error("a keeper panicked", "program", in, "panic", value) }}
}

// Stop ends the program, and with it the keeper, and says how it ended. On a
// nil keeper it does nothing.
func (k *keeper) Stop(signal syscall.Signal, grace time.Duration) string {
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

func (k *keeper) run() {
	defer close(k.ended)
	for !k.turn() {
	}
}

// turn is one life of the program, and tells whether it was the last. After a
// panic what runs is looked after by the next turn.
func (k *keeper) turn() (last bool) {
	defer func() {
		if r := recover(); r != nil {
			k.panic(k.name, r, debug.Stack())
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

// live starts the program, unless it runs, and says how it ended, its last words,
// and how long it ran; nothing when it was stopped.
func (k *keeper) live() (why, words string, up time.Duration) {
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
		words = t.lastWords()
	}
	return why, words, up
}

// misses keeps a program that never comes up from flooding the console.
type misses struct {
	why   string
	times int
}

// count tells how often in a row a program has ended in the same way soon after
// its start, and whether to say so: at the first, second, fourth, eighth time and
// so on.
func (m *misses) count(why string, up time.Duration) (say bool, times int) {
	if why != m.why || up >= steady {
		*m = misses{why: why}
	}
	m.times++
	return m.times&(m.times-1) == 0, m.times
}

// attend waits for p to end by itself (false) or stops it when told (true).
func (k *keeper) attend(p process) bool {
	if k.wanted == nil {
		select {
		case <-p.Done():
			return false
		case s := <-k.stop:
			k.wanted = &s
		}
	}
	for _, try := range []stop{*k.wanted, {syscall.SIGKILL, killGrace}} {
		if err := p.Signal(try.signal); err != nil {
			k.log.Error("a signal was not delivered", "program", k.name, "error", err)
		}
		if within(p.Done(), try.grace) {
			k.last = p.Status().String()
			return true
		}
	}
	k.last = "does not end"
	return true
}

// pauseFor waits, and tells whether it was told to stop meanwhile.
func (k *keeper) pauseFor(d time.Duration) bool {
	if k.wanted != nil && k.process != nil { // What was told before a panic is yet to be done.
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
func within(done <-chan struct{}, d time.Duration) bool {
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
	steady     = 10 * time.Second // who ran so long starts over
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
