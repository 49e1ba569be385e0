package cli

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"keelson/services/control"
	"keelson/testvm/nstest"
)

// top runs on a terminal: it obeys keys, follows the size, and leaves the terminal as it was. The
// size of a serial console is not known.
func TestTopOnTerminal(t *testing.T) {
	t.Setenv("TERM", "vt220")
	t.Setenv("NO_COLOR", "")
	terminal := nstest.NewTerminal(t)
	tty, err := os.OpenFile(terminal.Path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	before, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	app, _, _ := appFor(t, three)
	app.In, app.Out = tty, tty
	done := make(chan int, 1)
	go func() { done <- app.Run(t.Context(), []string{"top", "-d", "100ms"}) }()
	terminal.Until(enterScreen)
	terminal.Until("by cpu; c: cpu")
	terminal.Until("\x1b[32mrunning\x1b[0m")
	terminal.Type("m")
	terminal.Until("by memory; ")
	terminal.Until("redis")
	terminal.Type("x") // no key
	if err := unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 5, Col: 12}); err != nil {
		t.Fatal(err)
	}
	terminal.Until("\r\n… 3 more" + clearLine + clearRest)
	terminal.Type("q")
	terminal.Until(leaveScreen)
	if code := <-done; code != control.CodeOK {
		t.Errorf("exit status %d", code)
	}
	if after, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS); err != nil || *after != *before {
		t.Errorf("%v: the terminal has another mode: %+v, %+v", err, after, before)
	}
}

// Without a terminal the table is printed once, without control sequences.
func TestTopOnce(t *testing.T) {
	text := look(t, "top -d 100ms --sort memory", 0)
	wantLines(t, "top", text, `NAME +STATE.*`, `redis +running.*`, `api +waiting.*`)
	if strings.Contains(text, "\x1b") {
		t.Errorf("%q", text)
	}
}
