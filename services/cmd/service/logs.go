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
	"strings"

	"golang.org/x/sys/unix"

	"keelson/services/control"
)

const logDir = "/var/log"

// tailLimit bounds what is read from the end of a log to find its last lines.
const tailLimit = 1 << 20

// logs copies what a service wrote: stderr first, then stdout. With follow it
// goes on with whatever comes.
func logs(ctx context.Context, inv invocation) (int, error) {
	name := inv.names[0]
	if strings.ContainsRune(name, filepath.Separator) {
		return control.CodeNotFound, fmt.Errorf("no service is named %q", name)
	}
	var files []*os.File
	for _, suffix := range []string{".log", ".out.log"} {
		f, err := os.Open(filepath.Join(logDir, name+suffix))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return control.CodeFailed, err
		}
		defer f.Close()
		files = append(files, f)
	}
	if len(files) == 0 {
		return control.CodeNotFound, fmt.Errorf("%s has no log in %s", name, logDir)
	}
	for _, f := range files {
		if err := show(inv.out, f, inv.lines); err != nil {
			return control.CodeFailed, err
		}
	}
	if inv.follow {
		if err := follow(ctx, inv.out, files); err != nil {
			return control.CodeFailed, err
		}
	}
	return control.CodeOK, nil
}

// show copies f, or its last lines when lines is above zero.
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
		start := lastLines(tail, lines)
		if _, err := f.Seek(from+int64(start), io.SeekStart); err != nil {
			return err
		}
	}
	_, err := io.Copy(out, f)
	return err
}

// lastLines is where the last n lines of b begin.
func lastLines(b []byte, n int) int {
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

// follow copies what is appended to files until ctx ends.
func follow(ctx context.Context, out io.Writer, files []*os.File) error {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return fmt.Errorf("cannot follow: %w", err)
	}
	events := os.NewFile(uintptr(fd), "inotify")
	defer events.Close()
	for _, f := range files {
		if _, err := unix.InotifyAddWatch(fd, f.Name(), unix.IN_MODIFY); err != nil {
			return fmt.Errorf("cannot follow %s: %w", f.Name(), err)
		}
	}
	defer context.AfterFunc(ctx, func() { events.Close() })()
	buffer := make([]byte, 4096)
	for {
		for _, f := range files {
			if _, err := io.Copy(out, f); err != nil {
				return err
			}
		}
		if _, err := events.Read(buffer); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("cannot follow: %w", err)
		}
	}
}
