package progress

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"
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

// Close waits for the bars, and returns once all have ended, one of them with an error.
func TestBarsEnd(t *testing.T) {
	p := NewBars(io.Discard)
	one, two := p.Start("one"), p.Start("two")
	closed := make(chan struct{})
	go func() {
		p.Close()
		close(closed)
	}()
	one.Done(nil)
	select {
	case <-closed:
		t.Fatal("Close returned although a bar has not ended")
	case <-time.After(50 * time.Millisecond):
	}
	two.Done(errors.New("no"))
	select {
	case <-closed:
	case <-time.After(time.Minute):
		t.Fatal("Close does not return although all bars have ended")
	}
}
