package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
)

// ErrPanic is returned when the guest's kernel panics, ErrEnded when the machine ends
// during a wait.
var (
	ErrPanic = errors.New("the guest's kernel panicked")
	ErrEnded = errors.New("the machine ended")
)

const panicMark = "Kernel panic - not syncing"

// transcript stores the output of a console and wakes waiters when it grows.
type transcript struct {
	out   io.Writer
	ended chan struct{}

	mu      sync.Mutex
	text    []byte
	changed chan struct{} // closed and replaced when text grows
}

func newTranscript(out io.Writer) *transcript {
	if out == nil {
		out = io.Discard
	}
	return &transcript{out: out, ended: make(chan struct{}), changed: make(chan struct{})}
}

// copyFrom reads a console to its end.
func (t *transcript) copyFrom(r io.Reader) {
	defer close(t.ended)
	buf := make([]byte, 16<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			t.add(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

func (t *transcript) add(p []byte) {
	_, _ = t.out.Write(p) // a closed terminal must not stop the guest
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	close(t.changed)
	t.changed = make(chan struct{})
}

// after returns the text after offset, and a channel that is closed when there is more.
func (t *transcript) after(offset int) (string, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text[offset:]), t.changed
}

func (t *transcript) String() string {
	text, _ := t.after(0)
	return text
}

func (t *transcript) lines() []string {
	text := strings.TrimRight(t.String(), "\r\n")
	if text == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], "\r")
	}
	return lines
}

func (t *transcript) tail(n int) []string {
	lines := t.lines()
	return lines[max(0, len(lines)-n):]
}

// matcher examines a line. An incomplete line is passed again when it has grown.
type matcher func(line string, whole bool) (bool, error)

// wait passes every line to match, an incomplete last one again when it has grown, until
// match returns true or an error, the guest panics, or the console or ctx ends.
func (t *transcript) wait(ctx context.Context, match matcher) (string, error) {
	offset := 0
	for {
		ended := isClosed(t.ended) // before reading: nothing comes after
		text, changed := t.after(offset)
		for text != "" {
			raw, rest, whole := strings.Cut(text, "\n")
			line := strings.TrimRight(raw, "\r")
			if ok, err := match(line, whole); ok || err != nil {
				return line, err
			}
			if whole && strings.Contains(line, panicMark) {
				_, why, _ := strings.Cut(line, panicMark)
				return line, fmt.Errorf("%w%s", ErrPanic, why)
			}
			if !whole {
				break
			}
			offset += len(raw) + 1
			text = rest
		}
		if ended {
			return "", ErrEnded
		}
		select {
		case <-changed:
		case <-t.ended:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
