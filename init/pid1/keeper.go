package pid1

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"keelson/init/reaper"
)

// process is a child, as far as a keeper cares.
type process interface {
	Done() <-chan struct{}
	Signal(syscall.Signal) error
	Status() reaper.Status
}

// talker is a process whose log may tell why it ended.
type talker interface{ lastWords() string }

// keeper keeps one program running until told to stop it. Its goroutine owns
// the process.
type keeper struct {
	name  string
	start func() (process, error)
	log   *slog.Logger
	stop  chan stop
	ended chan struct{}
	last  string // how it ended, valid once ended is closed
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

func (k *keepers) add(name string, log *slog.Logger, start func() (process, error)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return
	}
	if k.byName == nil {
		k.byName = map[string]*keeper{}
	}
	k.byName[name] = keep(name, log, start)
}

// get is nil when there is none.
func (k *keepers) get(name string) *keeper {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.byName[name]
}

func (k *keepers) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
}

// killGrace is how long a process may take to end after SIGKILL. One that
// hangs in the kernel never does.
const killGrace = 2 * time.Second

func keep(name string, log *slog.Logger, start func() (process, error)) *keeper {
	k := &keeper{name: name, start: start, log: log, stop: make(chan stop), ended: make(chan struct{})}
	go k.run()
	return k
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
	defer func() {
		if r := recover(); r != nil {
			k.last = "was given up"
			k.log.Error("a keeper panicked", "program", k.name, "panic", r, "stack", string(debug.Stack()))
		}
	}()
	var pause backoff
	for {
		began := time.Now()
		p, err := k.start()
		why := fmt.Sprint(err)
		if err == nil {
			if k.attend(p) {
				return
			}
			why = p.Status().String()
			if t, ok := p.(talker); ok {
				why += t.lastWords()
			}
		}
		up := time.Since(began)
		delay := pause.next(up)
		k.log.Error(k.name+" ended, starting it again", "how", why, "ran", up.Round(time.Millisecond), "in", delay)
		if k.pauseFor(delay) {
			return
		}
	}
}

// attend waits for p to end by itself (false) or stops it when told (true).
func (k *keeper) attend(p process) bool {
	var s stop
	select {
	case <-p.Done():
		return false
	case s = <-k.stop:
	}
	for _, try := range []stop{s, {syscall.SIGKILL, killGrace}} {
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
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-k.stop:
		k.last = "did not run"
		return true
	case <-timer.C:
		return false
	}
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
type backoff struct{ pause time.Duration }

func (b *backoff) next(up time.Duration) time.Duration {
	switch {
	case b.pause == 0 || up >= steady:
		b.pause = firstPause
	default:
		b.pause = min(2*b.pause, lastPause)
	}
	return b.pause
}
