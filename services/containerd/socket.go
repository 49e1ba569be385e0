package containerd

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// waitForSocket returns when something listens on the socket at path. It
// tries again whenever the directory says that something there changed: the
// socket is made by bind(2), and containerd sets its mode after listen(2).
func waitForSocket(ctx context.Context, path string) error {
	if listens(path) {
		return nil
	}
	watch, err := newWatch(ctx)
	if err != nil {
		return err
	}
	defer watch.close()
	for {
		// Ask for notice first, then look: nothing is missed in between.
		err := watch.add(filepath.Dir(path))
		if err == nil && listens(path) {
			return nil
		}
		if err == nil {
			err = watch.wait()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return err
		}
	}
}

func listens(path string) bool {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// watch is an inotify instance.
type watch struct {
	file *os.File
	stop func() bool
}

func newWatch(ctx context.Context) (*watch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("cannot watch: %w", os.NewSyscallError("inotify_init1", err))
	}
	file := os.NewFile(uintptr(fd), "inotify")
	stop := context.AfterFunc(ctx, func() { _ = file.Close() })
	return &watch{file, stop}, nil
}

// add watches dir or, while it is missing, the nearest directory above.
func (w *watch) add(dir string) error {
	const events = unix.IN_CREATE | unix.IN_ATTRIB | unix.IN_MOVED_TO | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF
	for {
		conn, err := w.file.SyscallConn()
		if err != nil {
			return fmt.Errorf("cannot watch %s: %w", dir, err)
		}
		var added error
		if err := conn.Control(func(fd uintptr) { _, added = unix.InotifyAddWatch(int(fd), dir, events) }); err != nil {
			return fmt.Errorf("cannot watch %s: %w", dir, err)
		}
		if added == nil {
			return nil
		}
		parent := filepath.Dir(dir)
		if added != unix.ENOENT || parent == dir {
			return fmt.Errorf("cannot watch %s: %w", dir, added)
		}
		dir = parent
	}
}

// wait returns when something changed.
func (w *watch) wait() error {
	buffer := make([]byte, 16*(unix.SizeofInotifyEvent+unix.NAME_MAX+1))
	if _, err := w.file.Read(buffer); err != nil {
		return fmt.Errorf("cannot watch: %w", err)
	}
	return nil
}

func (w *watch) close() {
	if w.stop() {
		_ = w.file.Close()
	}
}
