// Package fdpass sends and receives file descriptors with messages of Unix sockets.
//
// It works on sockets that keep the boundaries of messages (SOCK_DGRAM, SOCK_SEQPACKET), and
// is small because the shim of each service contains it. Errors are those of the kernel,
// or ErrTruncated.
//
// Sources: unix(7), "Ancillary messages"; cmsg(3); sendmsg(2); recvmsg(2).
package fdpass

import (
	"errors"

	"golang.org/x/sys/unix"
)

// MaxFiles is how many descriptors a message can have: SCM_MAX_FD of the kernel.
const MaxFiles = 253

// ErrTruncated is returned for a message that is larger than the receiver expects.
var ErrTruncated = errors.New("the message is too large")

// Send sends data, of at least one byte, and descriptors.
func Send(socket int, data []byte, files []int, flags int) error {
	var rights []byte
	if len(files) > 0 {
		rights = unix.UnixRights(files...)
	}
	return retry(func() error { return unix.Sendmsg(socket, data, rights, nil, flags|unix.MSG_NOSIGNAL) })
}

// Receive receives up to size bytes, and descriptors, which are closed on exec. Data is
// empty at the end of a connection. On an error it returns no descriptors.
func Receive(socket, size, flags int) (data []byte, files []int, err error) {
	data, rights := make([]byte, size), make([]byte, unix.CmsgSpace(4*MaxFiles))
	var n, rightsLen, got int
	err = retry(func() (err error) {
		n, rightsLen, got, _, err = unix.Recvmsg(socket, data, rights, flags|unix.MSG_CMSG_CLOEXEC)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	files, err = parse(rights[:rightsLen])
	if err == nil && got&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		err = ErrTruncated
	}
	if err != nil {
		Close(files)
		return nil, nil, err
	}
	return data[:n], files, nil
}

// parse returns the descriptors of all control messages, also together with an error.
func parse(rights []byte) (files []int, err error) {
	messages, err := unix.ParseSocketControlMessage(rights)
	for i := range messages {
		more, badMessage := unix.ParseUnixRights(&messages[i])
		files = append(files, more...)
		err = errors.Join(err, badMessage)
	}
	return files, err
}

// Close closes descriptors.
func Close(files []int) {
	for _, fd := range files {
		_ = unix.Close(fd)
	}
}

func retry(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
