package rescue

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// consolePath is the console named last on the command line.
const consolePath = "/dev/console"

// Path returns the path of the terminal for rescue: the console of a machine or,
// inside another system, the standard input of /init, whose PID is init.
func Path(init int, machine bool) string {
	if !machine {
		return fmt.Sprintf("/proc/%d/fd/0", init)
	}
	return consolePath
}

// open opens the terminal at path, for use by this process (its reads and
// writes end when it is closed), without making it the controlling one: nobody
// at it can send signals here.
func open(path string) (*os.File, error) {
	// A serial line without carrier is not waited for.
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open the terminal %s: %w", path, err)
	}
	if _, err := unix.IoctlGetTermios(fd, unix.TCGETS); err != nil {
		return nil, errors.Join(fmt.Errorf("%s is no terminal: %w", path, err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), path), nil
}

// forOthers opens it for another program: in blocking mode, and sane.
func forOthers(path string) (*os.File, error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	makeSane(f, nil)
	if err := unix.SetNonblock(int(f.Fd()), false); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot prepare the terminal %s: %w", path, err), f.Close())
	}
	return f, nil
}

// interrupt is ctrl-C.
const interrupt = 3

// forPrompt lets the terminal edit lines and pass ctrl-C on as the end of one.
func forPrompt(t *unix.Termios) {
	t.Lflag &^= unix.ISIG
	t.Cc[unix.VEOL] = interrupt
}

// makeSane sets what a terminal is expected to do, whatever the last program
// left behind. Speed and such stay.
func makeSane(f *os.File, change func(*unix.Termios)) {
	conn, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Control(func(fd uintptr) { // A terminal that refuses is used as it is.
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

// waitHangup returns when the terminal has been hung up or closed.
func waitHangup(f *os.File) {
	conn, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Read(func(fd uintptr) bool { // It is called again at every event.
		fds := []unix.PollFd{{Fd: int32(fd)}}
		_, err := unix.Poll(fds, 0)
		return err == nil && fds[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
	})
}

// longest is the longest line, in bytes: that of the kernel's own line editor.
const longest = 4096

// Errors of a line.
var (
	errInterrupt = errors.New("interrupted")
	errLong      = fmt.Errorf("line too long, more than %d bytes", longest)
)

// input is a line that somebody typed, or why there is none.
type input struct {
	line string
	err  error // errInterrupt, errLong; others are the last
}

// readLines hands on what comes, until r fails or stop is closed. It keeps one
// line at most.
func readLines(r io.Reader, to chan<- input, stop <-chan struct{}) {
	var pending []byte
	long := false
	buffer := make([]byte, longest)
	for {
		n, err := r.Read(buffer)
		for _, c := range buffer[:n] {
			next, end := input{}, true
			switch {
			case c == interrupt:
				next.err = errInterrupt
			case c == '\n' || c == '\r':
				next.line = strings.ToValidUTF8(string(pending), "\uFFFD")
				if long {
					next = input{err: errLong}
				}
			case len(pending) == longest:
				long, end = true, false
			default:
				pending, end = append(pending, c), false
			}
			if !end {
				continue
			}
			pending, long = pending[:0], false
			if !send(next, to, stop) {
				return
			}
		}
		if err != nil {
			send(input{err: err}, to, stop)
			return
		}
	}
}

func send(i input, to chan<- input, stop <-chan struct{}) bool {
	select {
	case to <- i:
		return true
	case <-stop:
		return false
	}
}
