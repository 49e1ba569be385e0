package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"keelson/runtime/readfile"
)

// FileLimit is the largest size of each of the two files, in bytes.
const FileLimit = 128 << 10

// Names of the files of a journal.
const (
	fileName = "events"
	oldName  = "events.old"
	lastName = "events.last"
)

// file is the journal on a file system that is lost at a reboot. Its zero value keeps nothing.
type file struct {
	dir  string   // empty: there are no files
	log  *os.File // nil: it is opened at the next write
	size int64
	torn bool     // the log does not end with a newline
	last *os.File // nil: it cannot be written
}

// load reads the events of a boot, of which it passes on those whose numbers increase. It
// returns the last number that was used; 0: that is not known.
func (f *file) load(boot uint32, keep func(Event, int)) (last uint64, err error) {
	newest := uint64(0)
	var errs []error
	for _, name := range []string{oldName, fileName} {
		text, err := readfile.NoFollow(filepath.Join(f.dir, name), 2*FileLimit)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		newest = parse(text, boot, newest, keep)
	}
	text, err := readfile.NoFollow(filepath.Join(f.dir, lastName), 64)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		return 0, errors.Join(errs...)
	}
	used, err := ParseID(strings.TrimSpace(string(text)))
	if err != nil || used.Boot != boot {
		return 0, errors.Join(append(errs, err)...)
	}
	return max(newest, used.Seq), errors.Join(errs...)
}

// parse passes on the events of a boot in text whose numbers are above after and increase, with
// the sizes of their lines. It returns the last number. Other lines are ignored.
func parse(text []byte, boot uint32, after uint64, keep func(Event, int)) (last uint64) {
	for line := range bytes.Lines(text) {
		var e Event
		if !bytes.HasSuffix(line, []byte("\n")) || json.Unmarshal(line, &e) != nil {
			continue
		}
		if e.ID.Boot == boot && e.ID.Seq > after && e.Kind != "" {
			after = e.ID.Seq
			keep(e.limited(), len(line))
		}
	}
	return after
}

// append writes an event, whose line ends with a newline, and records that its number is used.
func (f *file) append(id ID, line []byte) error {
	if f.dir == "" {
		return nil
	}
	return errors.Join(f.write(line), f.used(id))
}

func (f *file) write(line []byte) error {
	if f.size > 0 && f.size+int64(len(line)) > FileLimit {
		if err := f.rotate(); err != nil {
			return err
		}
	}
	if f.log == nil {
		if err := f.open(); err != nil {
			return err
		}
	}
	if f.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := f.log.Write(line)
	f.size += int64(n)
	if n > 0 {
		f.torn = line[n-1] != '\n'
	}
	return plain("write", f.path(fileName), err)
}

func (f *file) path(name string) string { return filepath.Join(f.dir, name) }

func (f *file) open() error {
	log, err := open(f.path(fileName), os.O_RDWR|os.O_APPEND)
	if err != nil {
		return err
	}
	info, err := log.Stat()
	if err != nil {
		return errors.Join(err, log.Close())
	}
	f.log, f.size = log, info.Size()
	end := []byte{'\n'}
	if f.size > 0 {
		_, _ = log.ReadAt(end, f.size-1) // Without an answer, there may be an empty line.
	}
	f.torn = end[0] != '\n'
	return nil
}

// open opens a regular file, and makes it if there is none.
func open(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, flags|os.O_CREATE|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, plain("open", path, err)
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("cannot open %s: not a regular file", path), f.Close())
	}
	return f, nil
}

// plain returns an error that names the file once.
func plain(verb, path string, err error) error {
	if err == nil {
		return nil
	}
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		err = e.Err
	}
	return fmt.Errorf("cannot %s %s: %w", verb, path, err)
}

// rotate begins another log.
func (f *file) rotate() error {
	if f.log != nil {
		_ = f.log.Close()
	}
	f.log, f.size, f.torn = nil, 0, false
	if err := os.Rename(f.path(fileName), f.path(oldName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot begin another %s: %w", f.path(fileName), err)
	}
	return nil
}

// lastWidth is the size of the file with the last number: the longest ID and a newline.
const lastWidth = bootDigits + 1 + 20 + 1

// used records that a number is used. The file always has the same size, so that only its
// first write needs room.
func (f *file) used(id ID) (err error) {
	if f.last == nil {
		if f.last, err = open(f.path(lastName), os.O_RDWR); err != nil {
			return err
		}
	}
	text := fmt.Appendf(make([]byte, 0, lastWidth), "%-*s\n", lastWidth-1, id.String())
	_, err = f.last.WriteAt(text, 0)
	return plain("write", f.path(lastName), err)
}

func (f *file) close() {
	for _, one := range []io.Closer{f.log, f.last} {
		_ = one.Close()
	}
	*f = file{}
}
