package toolbox

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/prepare"
)

// killTime is how long tools may take to end once they are killed.
const killTime = 10 * time.Second

// record is the file that stands for the tools of a process, which has it locked. Its name is that of their
// cgroup.
type record struct {
	name string
	file *os.File
}

// names of records. Nothing else in Dir has a cgroup.
var names = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^debug-[A-Z2-7]{26}$`) })

func newRecord(dir string) (*record, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make a folder for tools: %w", err)
	}
	for {
		name := "debug-" + rand.Text()
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return nil, fmt.Errorf("cannot make the record of tools: %w", err)
		}
		r := &record{name, f}
		locked, err := r.lock()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if locked && r.exists() { // Sweep may have been faster.
			return r, nil
		}
		_ = f.Close()
	}
}

// lock locks a record, if no other process has. Children do not inherit the descriptor.
func (r *record) lock() (locked bool, err error) {
	err = unix.Flock(int(r.file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot lock %s: %w", r.file.Name(), err)
	}
	return true, nil
}

// exists reports whether the file has its name.
func (r *record) exists() bool {
	own, err := r.file.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(r.file.Name())
	return err == nil && os.SameFile(own, named)
}

// cgroup is the path of the cgroup of the tools.
func (r *record) cgroup() string { return "/" + r.name }

// kill kills the tools. With one write, if the kernel can (cgroup.kill of cgroup-v2.rst, Linux 5.14): others
// could start more meanwhile.
func (r *record) kill() (left int) {
	_ = os.WriteFile(filepath.Join("/sys/fs/cgroup", r.cgroup(), "cgroup.kill"), []byte("1"), 0)
	return prepare.KillLeft(r.cgroup(), killTime)
}

// remove removes the cgroup, and then the record.
func (r *record) remove() error {
	defer r.file.Close()
	if left := r.kill(); left > 0 {
		return fmt.Errorf("%d processes of the cgroup %s do not end", left, r.cgroup())
	}
	if err := prepare.RemoveCgroups(r.cgroup(), nil); err != nil {
		return err
	}
	if err := os.Remove(r.file.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove the record of tools: %w", err)
	}
	return nil
}

// Sweep kills the tools of processes that have died, and removes what they have left.
func Sweep() error { return sweep(Dir) }

func sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot look for tools that were left: %w", err)
	}
	var errs []error
	for _, entry := range entries {
		if names().MatchString(entry.Name()) {
			errs = append(errs, sweepOne(dir, entry.Name()))
		}
	}
	return errors.Join(errs...)
}

func sweepOne(dir, name string) error {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot look for tools that were left: %w", err)
	}
	r := &record{name, f}
	if locked, err := r.lock(); !locked {
		return errors.Join(err, f.Close())
	}
	return r.remove()
}
