package threads

import (
	"os"
	"testing"
)

// The threads exist afterwards, and are used again.
func TestCreate(t *testing.T) {
	const n = 100 // more than the tests of this package need
	for range 3 {
		Create(n)
	}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	if len(tasks) < n || len(tasks) > 2*n {
		t.Errorf("%d threads, want about %d", len(tasks), n)
	}
}
