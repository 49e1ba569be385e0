package nstest

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// CheckShell checks a command that runs a shell with a terminal in a container: the shell has job
// control, the size of the command's terminal, also when it changes, and signals of its keys. tools
// begins the names of programs in the container: "busybox " or nothing.
func (s *System) CheckShell(t *testing.T, cmd *exec.Cmd, tools string) {
	t.Helper()
	term := NewTerminal(t)
	tty, err := os.OpenFile(term.Path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	resize := func(width, height uint16) {
		if err := unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: height, Col: width}); err != nil {
			t.Fatal(err)
		}
	}
	sleeps := func(want bool) {
		for deadline := time.Now().Add(time.Minute); (len(s.Named("sleep", "100002")) > 0) != want; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("not so after a minute: the program of the shell runs: %v", want)
			}
		}
	}
	resize(91, 31)
	cmd.Env = append(os.Environ(), "TERM=vt99")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, true
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	term.Type("[ -t 0 ] && echo is-a-$((1+1))-terminal-$TERM\n")
	term.Until("is-a-2-terminal-vt99")
	term.Type("until " + tools + "stty size | " + tools + "grep '^31 91'; do :; done; echo first-$((1+1))\n")
	term.Until("first-2")
	resize(101, 41) // The kernel signals the client.
	term.Type("until " + tools + "stty size | " + tools + "grep '^41 101'; do :; done; echo second-$((1+1))\n")
	term.Until("second-2")
	for _, key := range []string{"\x03", "\x1a"} { // Interrupt, suspend.
		term.Type("sleep 100002\n")
		sleeps(true)
		term.Type(key)
		term.Type("echo back-$((1+1))\n")
		term.Until("back-2")
	}
	term.Type("kill %1; fg; echo ended-$((1+1))\n") // What was suspended.
	term.Until("ended-2")
	sleeps(false)
	term.Type("exit 5\n")
	if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != 5 {
		t.Errorf("the shell ended with %s", cmd.ProcessState)
	}
}
