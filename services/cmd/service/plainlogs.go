package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	runtimelogs "keelson/runtime/logs"
	"keelson/runtime/logs/reader"
	"keelson/runtime/paths"
	"keelson/runtime/watch"
	"keelson/services/control"
)

const logDir = paths.Logs

// tailLimit bounds what is read from the end of a log to find its last lines.
const tailLimit = 1 << 20

// plainLogs prints the output of a service as it is: stderr, then stdout, each with its
// rotated parts. With follow it continues with new output.
func plainLogs(ctx context.Context, inv *logRequest) (int, error) {
	name := inv.Query.Names[0]
	var tails []*tail
	found := false
	for _, suffix := range []string{".log", ".out.log"} {
		t := &tail{path: filepath.Join(logDir, name+suffix), diag: inv.diag}
		defer t.close()
		ok, err := t.show(inv.out, inv.Query.Lines)
		if err != nil {
			return control.CodeFailed, err
		}
		found = found || ok
		tails = append(tails, t)
	}
	if !found && inv.Query.Lines <= 0 && !inv.Query.Follow {
		if text, err := runtimelogs.Fetch(runtimelogs.QuerySocket, tailLimit, name, name+".out"); err == nil && len(text) > 0 {
			_, err = inv.out.Write(text)
			return control.CodeOK, err
		}
	}
	if !found {
		return control.CodeNotFound, fmt.Errorf("%s has no log in %s; a logging daemon may have it", name, logDir)
	}
	if inv.Query.Follow {
		if err := follow(ctx, inv.out, tails); err != nil {
			return control.CodeFailed, err
		}
	}
	return control.CodeOK, nil
}

// tail is a log that may be rotated while it is read.
type tail struct {
	path string
	diag io.Writer
	f    *os.File // nil: does not exist yet
}

func (t *tail) close() {
	if t.f != nil {
		_ = t.f.Close()
		t.f = nil
	}
}

// show prints the rotated parts and the log, or the last lines of the log if lines is
// positive. It returns false when neither exists.
func (t *tail) show(out io.Writer, lines int) (bool, error) {
	found := false
	if lines <= 0 {
		for _, path := range reader.Parts(t.path) {
			if path == t.path {
				continue
			}
			old := &tail{path: path}
			err := old.more(out)
			found = found || old.f != nil
			old.close()
			if err != nil {
				return false, err
			}
		}
	}
	if err := t.open(); err != nil || t.f == nil {
		return found, err
	}
	return true, show(out, t.f, lines)
}

func (t *tail) open() error {
	f, err := os.Open(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	t.f = f
	return err
}

// more prints what is new, also in a file that has replaced the open one.
func (t *tail) more(out io.Writer) error {
	for {
		if t.f == nil {
			if err := t.open(); err != nil || t.f == nil {
				return err
			}
		}
		if _, err := io.Copy(out, t.f); err != nil {
			return err
		}
		now, err := os.Stat(t.path)
		if err != nil {
			return nil // It is being replaced.
		}
		own, err := t.f.Stat()
		if err != nil || os.SameFile(own, now) {
			return err
		}
		// Nothing writes to the old file any more, so this is the rest of it.
		if _, err := io.Copy(out, t.f); err != nil {
			return err
		}
		if !slices.ContainsFunc(reader.Parts(t.path), func(path string) bool {
			part, err := os.Stat(path)
			return err == nil && os.SameFile(own, part)
		}) {
			fmt.Fprintf(t.diag, "service: logs: %s: lines may be lost: the log was rotated faster than it is read\n", filepath.Base(t.path))
		}
		t.close()
	}
}

// show prints f, or its last lines if lines is positive.
func show(out io.Writer, f *os.File, lines int) error {
	if lines > 0 {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		from := max(info.Size()-tailLimit, 0)
		tail, err := io.ReadAll(io.NewSectionReader(f, from, info.Size()-from))
		if err != nil {
			return err
		}
		start := startOfLast(tail, lines)
		if _, err := f.Seek(from+int64(start), io.SeekStart); err != nil {
			return err
		}
	}
	_, err := io.Copy(out, f)
	return err
}

// startOfLast returns the offset of the last n lines of b.
func startOfLast(b []byte, n int) int {
	end := len(bytes.TrimSuffix(b, []byte("\n")))
	for range n {
		i := bytes.LastIndexByte(b[:end], '\n')
		if i < 0 {
			return 0
		}
		end = i
	}
	return end + 1
}

// follow prints what is appended to logs until ctx ends.
func follow(ctx context.Context, out io.Writer, tails []*tail) error {
	events, err := watch.New()
	if err != nil {
		return fmt.Errorf("cannot follow logs: %w", err)
	}
	defer events.Close()
	dir := filepath.Dir(tails[0].path)
	if err := events.Add(dir, unix.IN_MODIFY|unix.IN_CREATE|unix.IN_MOVED_TO); err != nil {
		return fmt.Errorf("cannot follow logs in %s: %w", dir, err)
	}
	if events.Polls() {
		fmt.Fprintln(os.Stderr, "service: no inotify instance or watch is left for this user: checking for new lines four times a second")
	}
	defer context.AfterFunc(ctx, func() { events.Close() })()
	buffer := make([]byte, 4096)
	for {
		for _, t := range tails {
			if err := t.more(out); err != nil {
				return err
			}
		}
		if _, err := events.Read(buffer); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("cannot follow logs: %w", err)
		}
	}
}
