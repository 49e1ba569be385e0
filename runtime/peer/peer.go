// Package peer finds out which process is at the other end of a Unix socket.
// Source: SO_PEERCRED of unix(7).
package peer

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// Of returns process, user and group at the other end of a connection, as they were when the
// connection was made. The process is 0 if it is in another PID namespace.
func Of(conn *net.UnixConn) (unix.Ucred, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return unix.Ucred{}, fmt.Errorf("cannot find the peer of a socket: %w", err)
	}
	var peer *unix.Ucred
	var got error
	if err = raw.Control(func(fd uintptr) { peer, got = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err == nil {
		err = got
	}
	if err != nil {
		return unix.Ucred{}, fmt.Errorf("cannot find the peer of a socket: %w", err)
	}
	return *peer, nil
}
