package containerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"keelson/runtime/watch"
)

// waitForSocket returns when something listens on the unix socket at path. It
// sleeps on inotify(7): a socket that is bound shows as IN_CREATE, and
// containerd changes its mode once it listens (IN_ATTRIB).
func waitForSocket(ctx context.Context, path string) error {
	for {
		if listening(ctx, path) {
			return nil
		}
		if err := waitForChange(ctx, path); err != nil {
			return err
		}
	}
}

func listening(ctx context.Context, path string) bool {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// waitForChange waits for something to happen in the socket's folder, or in
// the nearest one above that exists. It asks again after setting the watch, so
// that nothing is missed in between.
func waitForChange(ctx context.Context, path string) error {
	events, err := watch.New()
	if err != nil {
		return fmt.Errorf("cannot watch for its socket: %w", err)
	}
	defer events.Close()
	dir, err := watchNearest(events, filepath.Dir(path))
	if err != nil {
		return err
	}
	if listening(ctx, path) || dir != filepath.Dir(path) && exists(filepath.Dir(path)) {
		return nil
	}
	stop := context.AfterFunc(ctx, func() { events.Close() })
	defer stop()
	if _, err := events.Read(make([]byte, 4096)); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("cannot watch %s: %w", dir, err)
	}
	return nil
}

func watchNearest(events *watch.Watch, dir string) (string, error) {
	for {
		err := events.Add(dir, unix.IN_CREATE|unix.IN_ATTRIB|unix.IN_MOVED_TO)
		if err == nil {
			return dir, nil
		}
		if !errors.Is(err, fs.ErrNotExist) || dir == "/" || dir == "." {
			return "", fmt.Errorf("cannot watch %s: %w", dir, err)
		}
		dir = filepath.Dir(dir)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// listener is the process that listens on the unix socket at path. It need not
// be able to answer.
func listener(path string) (pid int, err error) {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return 0, fmt.Errorf("cannot find containerd: %w", err)
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("cannot find containerd: %w", err)
	}
	var peer *unix.Ucred
	if cerr := raw.Control(func(fd uintptr) {
		peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); cerr != nil {
		err = cerr
	}
	if err != nil {
		return 0, fmt.Errorf("cannot find containerd: %w", err)
	}
	if peer.Pid <= 1 {
		return 0, fmt.Errorf("cannot find containerd: process %d listens on %s", peer.Pid, path)
	}
	return int(peer.Pid), nil
}
