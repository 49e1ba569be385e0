package vmtest

import (
	"runtime"
	"sync"
	"testing"
)

// One of several tests that need a value makes it; another value can be made meanwhile.
func TestShared(t *testing.T) {
	var s Shared[int]
	var tests sync.WaitGroup
	made := 0
	first := func() int {
		made++
		return s.Get("second", func() int { return 2 })
	}
	for range 10 {
		tests.Go(func() {
			if got := s.Get("first", first); got != 2 {
				t.Errorf("got %d, want 2", got)
			}
		})
	}
	tests.Wait()
	if made != 1 {
		t.Errorf("the value was made %d times", made)
	}
}

// If the test that makes a value ends, the next one makes it.
func TestSharedAgain(t *testing.T) {
	var s Shared[int]
	var failed sync.WaitGroup
	failed.Go(func() {
		s.Get("key", func() int {
			runtime.Goexit() // like t.Fatal
			return 0
		})
	})
	failed.Wait()
	for range 2 {
		if got := s.Get("key", func() int { return 7 }); got != 7 {
			t.Errorf("got %d, want 7", got)
		}
	}
}
