package progress

import (
	"errors"
	"strings"
	"testing"
)

func TestLines(t *testing.T) {
	var b strings.Builder
	p := Lines(&b)
	p.Start("step one").Done(nil)
	p.Note("remark")
	p.Start("step two").Done(errors.New("no"))
	for _, want := range []string{"step one …\n", "step one: done", "remark\n", "step two: failed\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in %q", want, b.String())
		}
	}
}

// Close returns when all bars have ended, one of them with an error, and notes are shown.
func TestBarsEnd(t *testing.T) {
	var b strings.Builder
	p := NewBars(&b)
	p.Start("one").Done(nil)
	p.Note("remark")
	p.Start("two").Done(errors.New("no"))
	p.Close()
	if !strings.Contains(b.String(), "remark\n") {
		t.Errorf("the note is missing in %q", b.String())
	}
}
