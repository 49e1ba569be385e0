package tests

import (
	"regexp"
	"time"
)

// moment is when the power is cut: some time after the console shows a line. Times are
// those of an idle machine without KVM.
type moment struct {
	phase  string
	begins *regexp.Regexp
	at     time.Duration // approximate time of the line
	lasts  time.Duration // the power is cut within this time
	share  int           // of all cuts
}

const loadPhase, growPhase, swapPhase = "load", "growing", "swap"

var moments = []moment{
	{"kernel and init", regexp.MustCompile(`keelson: .*\] kernel`), 2 * time.Second, time.Second, 1},
	{"check and mount", regexp.MustCompile(`keelson: .*volumes:`), 2500 * time.Millisecond, time.Second, 2},
	{growPhase, regexp.MustCompile(`disk: growing partition`), 2500 * time.Millisecond, 300 * time.Millisecond, 4},
	{"services start", regexp.MustCompile(`onboot 000-persist: exited 0`), 3 * time.Second, time.Second, 2},
	{"redis reads its data", regexp.MustCompile(`service redis: started`), 4 * time.Second, time.Second, 1},
	{loadPhase, regexp.MustCompile(`keelson: .*\] ready:`), 5 * time.Second, 1500 * time.Millisecond, 5},
	{swapPhase, regexp.MustCompile(`service redis: swapping`), 5 * time.Second, 4 * time.Second, 4},
}

// choose returns a random moment, weighted by share. The first one is during a swap, so that
// a single cut is one under load.
func (r *cutter) choose(disk string) moment {
	n := 0
	for _, m := range r.moments {
		if m.phase == swapPhase && r.count == 0 {
			return m
		}
		n += m.share
	}
	n = r.rng.IntN(n)
	for _, m := range r.moments {
		if n -= m.share; n < 0 && (m.phase != growPhase || r.grow(disk)) {
			return m
		}
	}
	return r.moments[len(r.moments)-1]
}

// phaseOf returns the last phase whose beginning a console shows.
func phaseOf(console string) string {
	phase := moments[0].phase
	for _, m := range moments {
		if m.begins.MatchString(console) {
			phase = m.phase
		}
	}
	return phase
}
