package probe

import (
	"testing"
	"time"
)

func TestReports(t *testing.T) {
	r, now := newReports(), time.Now()
	for i := range reportBurst {
		if text, ok := r.pass("a", now); !ok || text != "a" {
			t.Fatalf("report %d: %q, %v", i, text, ok)
		}
	}
	for range 3 {
		if _, ok := r.pass("b", now); ok {
			t.Fatal("more than the limit pass")
		}
	}
	if text, ok := r.pass("c", now.Add(reportPause)); !ok || text != "c (reports dropped before: 3)" {
		t.Errorf("later: %q, %v", text, ok)
	}
	if text, ok := r.pass("d", now.Add(2*reportPause)); !ok || text != "d" {
		t.Errorf("after that: %q, %v", text, ok)
	}
}
