package names

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/blkid"
	"keelson/runtime/durable"
	"keelson/runtime/readfile"
	"keelson/runtime/uevent"
)

// System is where devices are and their names are made.
type System struct {
	Sys   string // /sys
	Dev   string // /dev
	State string // file with what is known of the content of devices
	Udev  string // exists if udev runs
	read  func(node string, size int64) (blkid.Content, error)
}

// This is the running system.
var This = System{Sys: "/sys", Dev: "/dev", State: "/run/keelson/names.json", Udev: "/run/udev/control", read: read}

const (
	// quick is how long links wait for devices that are being read.
	quick = time.Second
	// late is how long a device is waited for after that.
	late = 2 * time.Minute
	// lockLimit is for a lock that other processes hold for milliseconds.
	lockLimit = 10 * time.Second
	// atOnce is how many devices are read at the same time.
	atOnce = 8
	// stateLimit in bytes is for thousands of devices with names.
	stateLimit = 4 << 20
)

// known is what is known of a device.
type known struct {
	Identity string  `json:"identity"`
	Content  Content `json:"content"`
	// Asked is the process that reads the device; 0 if none does. If the device does not answer,
	// it is not read again.
	Asked int `json:"asked,omitempty"`
}

// contents are what is known, by the numbers of devices.
type contents map[string]known

// Update makes the links for the devices that exist. It reads devices that it does not know
// and those in changed: numbers MAJOR:MINOR, or [uevent.All] for all but those
// that have not answered. problem is called for devices that cannot
// be read.
func (s System) Update(ctx context.Context, changed []string, problem func(error)) error {
	if _, err := os.Stat(s.Udev); err == nil {
		return nil
	}
	waiting := map[string]Device{}
	err := s.locked(ctx, func(state contents) error {
		for _, d := range forget(state, disks(s.Sys), changed) {
			waiting[d.Number] = d
			state[d.Number] = known{Identity: d.identity(), Content: state.of(d), Asked: os.Getpid()}
		}
		return nil
	})
	if err != nil {
		return err
	}
	results := s.readAll(slices.Collect(maps.Values(waiting)))
	for wait := quick; ; wait = late {
		done := gather(ctx, results, len(waiting), wait)
		for _, r := range done {
			delete(waiting, r.number)
			if r.err != nil {
				problem(fmt.Errorf("%s has no names by its content: %w", r.node, r.err))
			}
		}
		err := s.locked(ctx, func(state contents) error {
			state.add(done)
			return apply(s.Dev, plan(s.named(state)))
		})
		switch {
		case err != nil || len(waiting) == 0 || ctx.Err() != nil:
			return err
		case len(done) == 0 && wait == late:
			for _, d := range waiting {
				problem(fmt.Errorf("%s has no names by its content: it has not answered for %v", d.Node, late))
			}
			return nil
		}
	}
}

// of returns the content of a device as far as it is known.
func (c contents) of(d Device) Content {
	if k := c[d.Number]; k.Identity == d.identity() {
		return k.Content
	}
	return Content{}
}

// add stores results, except those of devices that other processes have read since.
func (c contents) add(results []result) {
	for _, r := range results {
		if k := c[r.number]; k.Identity == r.identity && k.Asked == os.Getpid() {
			c[r.number] = known{Identity: r.identity, Content: r.content}
		}
	}
}

// named returns the devices with their names.
func (s System) named(state contents) []Device {
	all := disks(s.Sys)
	for i := range all {
		d := &all[i]
		d.USB = ancestor(d.dir, "usb") != ""
		d.Names = diskNames(*d, ids(*d), paths(s.Sys, d.whole()), state.of(*d))
	}
	return slices.Concat(all, ports(s.Sys))
}

// forget removes what is known of devices that do not exist any more, and returns the devices to
// read.
func forget(state contents, all []Device, changed []string) []Device {
	exists := map[string]bool{}
	everything := slices.Contains(changed, uevent.All)
	var todo []Device
	for _, d := range all {
		exists[d.Number] = true
		k, ok := state[d.Number]
		if !ok || k.Identity != d.identity() || slices.Contains(changed, d.Number) || everything && k.Asked == 0 {
			todo = append(todo, d)
		}
	}
	for number := range state {
		if !exists[number] {
			delete(state, number)
		}
	}
	return todo
}

// result is what was read of a device.
type result struct {
	number, identity, node string
	content                Content
	err                    error
}

// readAll reads devices and sends the results. A goroutine whose device does not answer remains
// until this process ends.
func (s System) readAll(devices []Device) <-chan result {
	results := make(chan result, len(devices))
	free := make(chan struct{}, atOnce)
	for _, d := range devices {
		go func() {
			select { // Devices that do not answer must not keep others from being read.
			case free <- struct{}{}:
				defer func() { <-free }()
			case <-time.After(quick):
			}
			r := result{number: d.Number, identity: d.identity(), node: d.Node}
			c, err := s.read(filepath.Join(s.Dev, d.Node), d.Size)
			if r.err = err; err == nil && !c.Member() {
				r.content = Content{UUID: blkid.Encode(c.UUID), Label: blkid.Encode(c.Label)}
			}
			results <- r
		}()
	}
	return results
}

// gather returns the results of at most n devices that come within wait: after the first wait,
// which is for all of them, one at a time.
func gather(ctx context.Context, results <-chan result, n int, wait time.Duration) []result {
	var done []result
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for len(done) < n && (wait == quick || len(done) == 0) {
		select {
		case r := <-results:
			done = append(done, r)
		case <-timer.C:
			return done
		case <-ctx.Done():
			return done
		}
	}
	return done
}

// read reads the content of a device. One without a medium, or that is gone, has none.
func read(node string, size int64) (blkid.Content, error) {
	f, err := os.OpenFile(node, os.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOMEDIUM) || errors.Is(err, unix.ENXIO) {
		return blkid.Content{}, nil
	}
	if err != nil {
		return blkid.Content{}, err
	}
	defer f.Close()
	c, err := blkid.Probe(f, size)
	if errors.Is(err, unix.ENOMEDIUM) {
		return blkid.Content{}, nil
	}
	return c, err
}

// locked calls act with what is known and stores it again. The lock is not held while a device is
// read: a process that waits for one cannot be killed.
func (s System) locked(ctx context.Context, act func(contents) error) error {
	lock, err := os.OpenFile(s.State+".lock", os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o600)
	if err == nil {
		defer lock.Close()
		err = flock(ctx, lock)
	}
	if err != nil {
		return fmt.Errorf("cannot make names of devices: %w", err)
	}
	state := contents{}
	if _, err := readfile.JSON(s.State, stateLimit, &state); err != nil || state == nil {
		state = contents{} // Everything is read again.
	}
	if err := act(state); err != nil {
		return err
	}
	return store(s.State, state)
}

// flock locks a file, for which it waits at most lockLimit.
func flock(ctx context.Context, f *os.File) error {
	ctx, cancel := context.WithTimeout(ctx, lockLimit)
	defer cancel()
	locked := make(chan error, 1)
	go func() {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX)
		for errors.Is(err, unix.EINTR) {
			err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		}
		locked <- err
	}()
	select {
	case err := <-locked:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%s is locked by another process: %w", f.Name(), ctx.Err())
	}
}

// store writes what is known.
func store(file string, state contents) error {
	text, err := json.Marshal(state)
	if err != nil {
		return err
	}
	return durable.Replace(file, text, 0o600)
}

// Any reports whether there are devices that get names.
func (s System) Any() bool { return len(disks(s.Sys)) > 0 || len(ports(s.Sys)) > 0 }
