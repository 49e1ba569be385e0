package probe

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keelson/runtime/backoff"
	"keelson/runtime/bundle"
)

// parsed parses a probe.
func parsed(text string) bundle.Probe {
	p, err := bundle.ParseProbe(text)
	if err != nil {
		panic(err)
	}
	return p
}

var byExec = parsed(`exec:check "two words"`)

// commands returns a container whose command exits with f of the attempt's number, and
// the times of the attempts.
func commands(f func(n int) int) (Container, *[]time.Duration) {
	start, times := time.Now(), new([]time.Duration)
	return Container{Exec: func(_ context.Context, args []string) (int, string, error) {
		if len(args) != 2 || args[1] != "two words" {
			return 0, "", errors.New("bad arguments")
		}
		*times = append(*times, time.Since(start))
		return f(len(*times)), "first\nnot yet\n", nil
	}}, times
}

func TestWaitBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, times := commands(func(n int) int { return max(0, 10-n) })
		if err := new(Prober).Wait(t.Context(), byExec, c, 0); err != nil {
			t.Fatal(err)
		}
		at, pause := time.Duration(0), 10*time.Millisecond
		for i, got := range *times {
			if got != at {
				t.Errorf("attempt %d at %s, want %s", i, got, at)
			}
			at, pause = at+pause, min(2*pause, 500*time.Millisecond)
		}
		if len(*times) != 10 {
			t.Errorf("%d attempts", len(*times))
		}
	})
}

func TestWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := commands(func(int) int { return 3 })
		err := new(Prober).Wait(t.Context(), byExec, c, 30*time.Second)
		if want := "not ready after 30s: exec check: exit code 3: not yet"; err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := new(Prober).Wait(ctx, byExec, c, time.Minute); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the end of the caller's context: %v", err)
		}
		for _, p := range []bundle.Probe{{Kind: "x"}, parsed("log:x"), {Kind: "notify"}} { // These need more fields of the container.
			if err := new(Prober).Wait(t.Context(), p, Container{Exec: c.Exec}, 0); err == nil {
				t.Errorf("no error for %+v", p)
			}
		}
	})
}

func notifier() (*Notify, func(string)) {
	n := &Notify{tracker: newTracker(State{})}
	return n, func(s string) { n.tracker.update(parseMessage([]byte(s))) }
}

func TestExtendedTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, say := notifier()
		start := time.Now()
		time.AfterFunc(9*time.Second, func() { say("EXTEND_TIMEOUT_USEC=5000000\nSTATUS=loading") })
		err := new(Prober).Wait(t.Context(), bundle.Probe{Kind: "notify"}, Container{Notify: n}, 10*time.Second)
		if took := time.Since(start); err == nil || took != 14*time.Second || !strings.Contains(err.Error(), "loading") {
			t.Errorf("%v after %s", err, took)
		}
		time.AfterFunc(time.Second, func() { say("RELOADING=1") })
		time.AfterFunc(2*time.Second, func() { say("READY=1") })
		if err := new(Prober).Wait(t.Context(), bundle.Probe{Kind: "notify"}, Container{Notify: n}, 10*time.Second); err != nil {
			t.Error(err)
		}
	})
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Two failures are tolerated, three in a row are not.
		c, times := commands(func(n int) int { return map[bool]int{true: 0, false: 1}[n == 3] })
		err := new(Prober).Watch(t.Context(), byExec, c, 10*time.Second, time.Second, 3)
		if len(*times) != 6 || err == nil || !strings.Contains(err.Error(), "not yet") || (*times)[5] != time.Minute {
			t.Errorf("%v at %v", err, *times)
		}
		hangs := Container{Exec: func(ctx context.Context, _ []string) (int, string, error) {
			<-ctx.Done()
			return 0, "", ctx.Err()
		}}
		start := time.Now()
		err = new(Prober).Watch(t.Context(), byExec, hangs, 10*time.Second, time.Second, 2)
		if took := time.Since(start); !errors.Is(err, errNoAnswer) || took != 22*time.Second {
			t.Errorf("%v after %s", err, took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		good, _ := commands(func(int) int { return 0 })
		if err := new(Prober).Watch(ctx, byExec, good, time.Second, time.Second, 1); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestWatchdog(t *testing.T) {
	for _, c := range []struct {
		name  string
		probe bundle.Probe
		play  func(say func(string))
		after time.Duration
	}{
		{"no probe", bundle.Probe{}, func(say func(string)) {
			say("WATCHDOG_USEC=3000000")
			time.AfterFunc(2*time.Second, func() { say("WATCHDOG=1") })
		}, 5 * time.Second},
		{"switched off", bundle.Probe{Kind: "notify"}, func(say func(string)) {
			say("WATCHDOG_USEC=3000000")
			time.AfterFunc(2*time.Second, func() { say("WATCHDOG_USEC=0") })
		}, 32 * time.Second},
		{"trigger", bundle.Probe{}, func(say func(string)) {
			time.AfterFunc(2*time.Second, func() { say("WATCHDOG=trigger") })
		}, 2 * time.Second},
		{"by interval", bundle.Probe{Kind: "notify"}, func(say func(string)) {
			time.AfterFunc(19*time.Second, func() { say("WATCHDOG=1") })
		}, 49 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, say := notifier()
				c.play(say)
				start := time.Now()
				err := new(Prober).Watch(t.Context(), c.probe, Container{Notify: n}, 10*time.Second, time.Second, 3)
				if took := time.Since(start); err == nil || took != c.after {
					t.Errorf("%v after %s, want %s", err, took, c.after)
				}
			})
		})
	}
}

// A log is healthy as long as lines match.
func TestWatchLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Container{Lines: func(ctx context.Context, see func([]byte) bool) error {
			for range 5 {
				if !backoff.Wait(ctx, 8*time.Second) || see([]byte("tick")) {
					return ctx.Err()
				}
			}
			<-ctx.Done()
			return ctx.Err()
		}}
		start := time.Now()
		err := new(Prober).Watch(t.Context(), parsed("log:tick"), c, 10*time.Second, time.Second, 2)
		if took := time.Since(start); err == nil || took != time.Minute {
			t.Errorf("%v after %s", err, took)
		}
	})
}
