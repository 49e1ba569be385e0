package probe

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// receive takes one message and says who sent it. A size of 0 is a message
// that is too long, or of nobody.
//
// There is room for the sender's credentials only, so the kernel itself drops
// file descriptors that come along. That answers BARRIER=1, whose sender
// waits for its descriptor to be closed, and leaves nothing of FDSTORE=1.
func receive(raw syscall.RawConn, buffer []byte) (size, pid int, err error) {
	control := make([]byte, unix.CmsgSpace(unix.SizeofUcred))
	var n, used, flags int
	var answer error
	err = raw.Read(func(fd uintptr) bool {
		for {
			n, used, flags, _, answer = unix.Recvmsg(int(fd), buffer, control, unix.MSG_CMSG_CLOEXEC)
			if !errors.Is(answer, unix.EINTR) {
				return !errors.Is(answer, unix.EAGAIN)
			}
		}
	})
	switch {
	case err != nil:
		return 0, 0, os.ErrClosed // There is no other reason.
	case answer != nil, flags&unix.MSG_TRUNC != 0:
		return 0, 0, answer
	}
	return n, sender(control[:used]), nil
}

// sender is the process that the kernel, not the message, names; 0 when it is
// not of our namespace, or unknown.
func sender(control []byte) int {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return 0
	}
	for _, m := range messages {
		if creds, err := unix.ParseUnixCredentials(&m); err == nil {
			return int(creds.Pid)
		}
	}
	return 0
}
