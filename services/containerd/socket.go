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

// waitForSocket waits until something listens on the Unix socket at path. It waits
// for events of inotify(7): bind(2) causes IN_CREATE, and containerd changes the mode
// of the socket once it listens, which causes IN_ATTRIB.
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

// waitForChange waits for a change in the socket's folder or, if that does not exist,
// in its nearest parent that does. It checks the socket again once the watch is set,
// so that no change is missed.
func waitForChange(ctx context.Context, path string) error {
	events, err := watch.New()
	if err != nil {
		return fmt.Errorf("cannot wait for its socket: %w", err)
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
