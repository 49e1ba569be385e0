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

// Terminal is a pseudoterminal with the test at the other end.
type Terminal struct {
	Path string // of the device that programs open

	t      *testing.T
	master *os.File

	mu     sync.Mutex
	text   string
	read   int // end of the text that Until has searched
	change chan struct{}
}

// NewTerminal makes a terminal that exists until the test ends.
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
	// Reading fails while no process has the device open, so keep it open here.
	kept := term.open(t)
	go term.follow(kept)
	return term
}

// open opens the programs' end.
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

// Until waits for a word after the text of the previous call, and returns everything up
// to it.
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

// HangUp hangs up the terminal for all processes that have it open.
func (term *Terminal) HangUp() { _ = term.master.Close() }
