package devnames

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"keelson/runtime/uevent"
)

// A thousand changes while a process runs make one more, which has all of them.
func TestStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs [][]string
		running := 0
		r := New(func(_ context.Context, changed []string) error {
			if running++; running > 1 {
				t.Errorf("%d processes at a time", running)
			}
			runs = append(runs, changed)
			time.Sleep(time.Second)
			running--
			return nil
		}, func(err error) { t.Error(err) })
		r.Renew(t.Context(), nil)
		r.Renew(t.Context(), []string{"8:0"})
		synctest.Wait()
		r.Renew(t.Context(), []string{"8:1"})
		r.Renew(t.Context(), []string{"8:1", "8:2"})
		time.Sleep(1500 * time.Millisecond)
		for i := range 1000 {
			r.Renew(t.Context(), []string{fmt.Sprint("8:", i)})
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := fmt.Sprint(runs); got != "[[8:0] [8:1 8:2] [all]]" {
			t.Errorf("processes for %s", got)
		}
	})
}

// Changes whose process failed are tried again, with those that have come meanwhile; a failure that
// lasts is reported once.
func TestFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var runs []string
		reports := 0
		r := New(func(_ context.Context, changed []string) error {
			mu.Lock()
			defer mu.Unlock()
			if runs = append(runs, strings.Join(changed, " ")); len(runs) < 4 {
				return errors.New("no memory")
			}
			return nil
		}, func(error) { reports++ })
		r.Renew(t.Context(), []string{"8:0"})
		synctest.Wait()
		r.Renew(t.Context(), []string{"8:1"})
		time.Sleep(time.Hour)
		mu.Lock()
		defer mu.Unlock()
		if want := []string{"8:0", "8:0 8:1", "8:0 8:1", "8:0 8:1"}; !slices.Equal(runs, want) || reports != 1 {
			t.Errorf("processes for %q, %d reports", runs, reports)
		}
	})
}

// Nothing is started after the end, also not what failed before; a later call begins anew.
func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runs := make(chan string, 9)
		r := New(func(_ context.Context, changed []string) error {
			runs <- strings.Join(changed, " ")
			return errors.New("no memory")
		}, func(error) {})
		ctx, cancel := context.WithCancel(t.Context())
		r.Renew(ctx, []string{"8:2"})
		<-runs
		synctest.Wait()
		cancel() // In the pause after a failure.
		time.Sleep(time.Hour)
		if len(runs) > 0 {
			t.Errorf("%d processes after the end", len(runs))
		}
		ctx, cancel = context.WithCancel(t.Context())
		r.Renew(ctx, []string{"8:3"})
		if got := <-runs; got != "8:3" {
			t.Errorf("a process for %q", got)
		}
		cancel()
		synctest.Wait()
	})
}

// Devices that do not answer delay others by seconds, in whatever number they are.
func TestDevicesThatDoNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan struct{})
		var mu sync.Mutex
		done := map[string]int{}
		r := New(func(_ context.Context, changed []string) error {
			if changed[0] != "8:99" {
				<-answer
			}
			mu.Lock()
			defer mu.Unlock()
			for _, c := range changed {
				if done[c]++; c == "8:7" && done[c] == 1 {
					return errors.New("killed")
				}
			}
			return nil
		}, func(error) {})
		for i := range 50 {
			r.Renew(t.Context(), []string{fmt.Sprint("8:", i)})
			time.Sleep(grace + time.Second)
		}
		r.Renew(t.Context(), []string{"8:99"})
		synctest.Wait()
		mu.Lock()
		if done["8:99"] != 1 || len(done) != 1 {
			t.Errorf("made %v", done)
		}
		mu.Unlock()
		close(answer)
		time.Sleep(time.Hour)
		mu.Lock()
		defer mu.Unlock()
		if len(done) != 51 || done["8:7"] != 2 {
			t.Errorf("made %v", done)
		}
	})
}

func TestMerge(t *testing.T) {
	var all []string
	for i := range 64 {
		all = uevent.Merge(all, []string{fmt.Sprint("8:", i), "8:0"})
	}
	if len(all) != 64 {
		t.Errorf("%d devices", len(all))
	}
	for range 2 {
		if all = uevent.Merge(all, []string{"9:0"}); !slices.Equal(all, []string{uevent.All}) {
			t.Errorf("%d devices: %v", len(all), all)
		}
	}
}
