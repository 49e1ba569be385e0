package nstest

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Terminal is one that a test sits at.
type Terminal struct {
	Path string // what programs open

	t      *testing.T
	master *os.File

	mu     sync.Mutex
	text   string
	read   int // up to where Until has got
	change chan struct{}
}

// NewTerminal makes a terminal for the length of a test.
func NewTerminal(t *testing.T) *Terminal {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	master := os.NewFile(uintptr(fd), "/dev/ptmx")
	t.Cleanup(func() { _ = master.Close() })
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	term := &Terminal{Path: fmt.Sprintf("/dev/pts/%d", n), t: t, master: master, change: make(chan struct{})}
	// While nobody has it open, reading fails: keep one open.
	kept := term.open(t)
	go term.follow(kept)
	return term
}

// open opens the end that programs have.
func (term *Terminal) open(t *testing.T) *os.File {
	t.Helper()
	f, err := os.OpenFile(term.Path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func (term *Terminal) follow(*os.File) {
	buffer := make([]byte, 4096)
	for {
		n, err := term.master.Read(buffer)
		term.mu.Lock()
		term.text += string(buffer[:n])
		close(term.change)
		term.change = make(chan struct{})
		term.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Type types text.
func (term *Terminal) Type(text string) {
	term.t.Helper()
	if _, err := term.master.WriteString(text); err != nil {
		term.t.Fatal(err)
	}
}

// Until waits for a word that comes after what was waited for last, and returns
// all that came up to it.
func (term *Terminal) Until(word string) string {
	term.t.Helper()
	late := time.After(patience)
	for {
		term.mu.Lock()
		rest, change := term.text[term.read:], term.change
		i := strings.Index(rest, word)
		if i >= 0 {
			term.read += i + len(word)
		}
		term.mu.Unlock()
		if i >= 0 {
			return rest[:i+len(word)]
		}
		select {
		case <-change:
		case <-late:
			term.t.Fatalf("the terminal never shows %q, but %q", word, rest)
		}
	}
}

// HangUp ends the terminal for everybody who has it open.
func (term *Terminal) HangUp() { _ = term.master.Close() }
