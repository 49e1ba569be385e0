package rescue

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// consolePath is the last console= of the command line.
const consolePath = "/dev/console"

// Path returns the path of the terminal for rescue: the console of a machine or, in
// userspace mode, the standard input of /init, whose PID is init.
func Path(init int, machine bool) string {
	if !machine {
		return fmt.Sprintf("/proc/%d/fd/0", init)
	}
	return consolePath
}

// open opens the terminal at path for use by this process: closing it ends reads and
// writes. It does not become the controlling terminal, so that no key sends a signal
// to this process.
func open(path string) (*os.File, error) {
	// O_NONBLOCK: do not wait for the carrier of a serial line.
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open the terminal %s: %w", path, err)
	}
	if _, err := unix.IoctlGetTermios(fd, unix.TCGETS); err != nil {
		return nil, errors.Join(fmt.Errorf("%s is not a terminal: %w", path, err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), path), nil
}

// openForProgram opens the terminal for another program: in blocking mode, with
// default settings.
func openForProgram(path string) (*os.File, error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	resetTerminal(f, nil)
	if err := unix.SetNonblock(int(f.Fd()), false); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot prepare the terminal %s: %w", path, err), f.Close())
	}
	return f, nil
}

// interrupt is ctrl-C.
const interrupt = 3

// promptMode makes ctrl-C end a line instead of sending a signal.
func promptMode(t *unix.Termios) {
	t.Lflag &^= unix.ISIG
	t.Cc[unix.VEOL] = interrupt
}

// resetTerminal sets the terminal to its default mode, then applies change, if any. It
// keeps the speed and other settings of the line.
func resetTerminal(f *os.File, change func(*unix.Termios)) {
	conn, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Control(func(fd uintptr) { // On failure, the terminal is used as it is.
		t, err := unix.IoctlGetTermios(int(fd), unix.TCGETS)
		if err != nil {
			return
		}
		t.Iflag = t.Iflag&unix.IUTF8 | unix.ICRNL | unix.IXON
		t.Oflag = unix.OPOST | unix.ONLCR
		t.Lflag = unix.ISIG | unix.ICANON | unix.IEXTEN | unix.ECHO | unix.ECHOE | unix.ECHOK | unix.ECHOCTL | unix.ECHOKE
		t.Cc = [len(t.Cc)]uint8{unix.VINTR: interrupt, unix.VQUIT: 28, unix.VERASE: 127, unix.VKILL: 21, unix.VEOF: 4, unix.VMIN: 1,
			unix.VSTART: 17, unix.VSTOP: 19, unix.VSUSP: 26, unix.VREPRINT: 18, unix.VWERASE: 23, unix.VLNEXT: 22}
		if change != nil {
			change(t)
		}
		_ = unix.IoctlSetTermios(int(fd), unix.TCSETS, t)
	})
}

// waitHangup returns when the terminal is hung up or closed.
func waitHangup(f *os.File) {
	conn, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Read(func(fd uintptr) bool { // This function is called again at each event.
		fds := []unix.PollFd{{Fd: int32(fd)}}
		_, err := unix.Poll(fds, 0)
		return err == nil && fds[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
	})
}

// maxLine is the longest line in bytes, the same as in the kernel's line editor.
const maxLine = 4096

// Errors of a single line, after which more lines may follow.
var (
	errInterrupt = errors.New("interrupted")
	errLong      = fmt.Errorf("line too long, more than %d bytes", maxLine)
)

// input is a line that was typed, or an error.
type input struct {
	line string
	err  error // errInterrupt, errLong; any other error ends the input
}

// readLines sends each line of r to the channel until r fails or stop is closed. It
// buffers one line at most.
func readLines(r io.Reader, to chan<- input, stop <-chan struct{}) {
	var l lineBuffer
	buffer := make([]byte, maxLine)
	for {
		n, err := r.Read(buffer)
		for _, c := range buffer[:n] {
			if next, end := l.add(c); end && !send(next, to, stop) {
				return
			}
		}
		if err != nil {
			send(input{err: err}, to, stop)
			return
		}
	}
}

// lineBuffer is a line that is not complete yet.
type lineBuffer struct {
	text []byte
	long bool // it has more than maxLine bytes
}

// add adds a byte. It returns the line, and true, when the byte ends one.
func (l *lineBuffer) add(c byte) (next input, end bool) {
	switch {
	case c == interrupt:
		next.err = errInterrupt
	case (c == '\n' || c == '\r') && l.long:
		next.err = errLong
	case c == '\n' || c == '\r':
		next.line = strings.ToValidUTF8(string(l.text), "\uFFFD")
	case len(l.text) == maxLine:
		l.long = true
		return input{}, false
	default:
		l.text = append(l.text, c)
		return input{}, false
	}
	l.text, l.long = l.text[:0], false
	return next, true
}

func send(i input, to chan<- input, stop <-chan struct{}) bool {
	select {
	case to <- i:
		return true
	case <-stop:
		return false
	}
}
