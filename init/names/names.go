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
	asker func() string           // identifies this process; in tests, a call
	alive func(asker string) bool // reports whether it runs
}

// This is the running system.
var This = System{Sys: "/sys", Dev: "/dev", State: "/run/keelson/names.json", Udev: "/run/udev/control", read: read, asker: asker, alive: alive}

const (
	// quick is how long links wait for devices that are being read.
	quick = time.Second
	// late is how long after that a device that has not answered is reported.
	late = 2 * time.Minute
	// forever is for devices that have been reported.
	forever = 1 << 62
	// lockLimit is for a lock that other processes hold for milliseconds.
	lockLimit = 10 * time.Second
	// atOnce is how many devices are read at the same time.
	atOnce = 8
	// stateLimit in bytes is for thousands of devices with names.
	stateLimit = 4 << 20
)

// record is what processes of this role leave to each other, in a file.
type record struct {
	// Listings counts how often the devices have been listed. Links are made of the last list.
	Listings uint64           `json:"listings"`
	Devices  map[string]known `json:"devices"` // by their numbers
}

// known is what is known of a device.
type known struct {
	Identity string  `json:"identity"`
	Content  Content `json:"content"`
	// Asked is the process that reads the device; empty if none does. Others do not read it
	// meanwhile: the device may not answer.
	Asked string `json:"asked,omitempty"`
	// Again has that process read it once more: it has changed meanwhile.
	Again bool `json:"again,omitempty"`
}

// job is one call of Update.
type job struct {
	System
	self    string // in known.Asked
	devices []Device
	listing uint64 // record.Listings when devices were listed
}

// Update makes the links for the devices that exist. It reads devices that it does not know
// and those in changed: numbers MAJOR:MINOR, or [uevent.All] for all. It returns when all of those that
// it reads have answered. problem is called for devices that cannot be read, or have not answered for long.
func (s System) Update(ctx context.Context, changed []string, problem func(error)) error {
	if _, err := os.Stat(s.Udev); err == nil {
		return nil
	}
	j := job{System: s, self: s.asker()}
	waiting := map[string]Device{}
	err := s.locked(ctx, func(r *record) error {
		j.list(r)
		for _, d := range j.todo(r, changed) {
			waiting[d.Number] = d
		}
		if len(waiting) > 0 {
			return nil
		}
		return j.apply(r)
	})
	if err != nil || len(waiting) == 0 {
		return err
	}
	results := make(chan result)
	s.readAll(ctx, slices.Collect(maps.Values(waiting)), results)
	for wait := quick; ; {
		done := gather(ctx, results, len(waiting), wait)
		for _, r := range done {
			if delete(waiting, r.device.Number); r.err != nil {
				problem(fmt.Errorf("%s has no names by its content: %w", r.device.Node, r.err))
			}
		}
		if len(done) == 0 && wait == late && ctx.Err() == nil {
			for _, d := range waiting {
				problem(fmt.Errorf("%s has no names by its content yet: it has not answered for %v", d.Node, late))
			}
			wait = forever
			continue
		}
		if wait == quick {
			wait = late
		}
		err := s.locked(ctx, func(r *record) error {
			for _, d := range j.add(r, done) {
				waiting[d.Number] = d
				s.readAll(ctx, []Device{d}, results)
			}
			return j.apply(r)
		})
		if err != nil || len(waiting) == 0 || ctx.Err() != nil {
			return err
		}
	}
}

// list lists the devices, and forgets what is known of those that do not exist any more.
func (j *job) list(r *record) {
	r.Listings++
	j.devices, j.listing = disks(j.Sys), r.Listings
	exists := map[string]bool{}
	for _, d := range j.devices {
		exists[d.Number] = true
	}
	maps.DeleteFunc(r.Devices, func(number string, _ known) bool { return !exists[number] })
}

// todo returns the devices to read, and records that this process reads them.
func (j *job) todo(r *record, changed []string) (todo []Device) {
	everything := slices.Contains(changed, uevent.All)
	for _, d := range j.devices {
		k, ok := r.Devices[d.Number]
		ok = ok && k.Identity == d.identity()
		switch {
		case ok && k.Asked != "" && j.alive(k.Asked):
			k.Again = k.Again || everything || slices.Contains(changed, d.Number)
			r.Devices[d.Number] = k
		case ok && k.Asked == "" && !everything && !slices.Contains(changed, d.Number):
		default:
			todo = append(todo, d)
			r.Devices[d.Number] = known{Identity: d.identity(), Content: r.of(d), Asked: j.self}
		}
	}
	return todo
}

// of returns the content of a device as far as it is known.
func (r *record) of(d Device) Content {
	if k := r.Devices[d.Number]; k.Identity == d.identity() {
		return k.Content
	}
	return Content{}
}

// add stores results, except those of devices that other processes read since. It returns the devices
// that have changed meanwhile, to be read again.
func (j *job) add(r *record, results []result) (again []Device) {
	for _, done := range results {
		number, identity := done.device.Number, done.device.identity()
		k := r.Devices[number]
		if k.Identity != identity || k.Asked != j.self {
			continue
		}
		next := known{Identity: identity, Content: done.content}
		if k.Again {
			again = append(again, done.device)
			next.Asked = j.self
		}
		r.Devices[number] = next
	}
	return again
}

// apply makes the links. The devices are listed again if another process has listed them meanwhile: its
// list is newer, and its links must not be replaced by older ones.
func (j *job) apply(r *record) error {
	if j.listing != r.Listings {
		j.list(r)
	}
	all := slices.Clone(j.devices)
	for i := range all {
		d := &all[i]
		d.USB = ancestor(d.dir, "usb") != ""
		d.Names = diskNames(*d, ids(*d), paths(j.Sys, d.whole()), r.of(*d))
	}
	return apply(j.Dev, plan(slices.Concat(all, ports(j.Sys))))
}

// result is what was read of a device.
type result struct {
	device  Device
	content Content
	err     error
}

// readAll reads devices and sends the results until ctx ends. A goroutine whose device does not answer
// remains until this process ends.
func (s System) readAll(ctx context.Context, devices []Device, results chan<- result) {
	free := make(chan struct{}, atOnce)
	for _, d := range devices {
		go func() {
			select { // Devices that do not answer must not keep others from being read.
			case free <- struct{}{}:
				defer func() { <-free }()
			case <-time.After(quick):
			}
			r := result{device: d}
			c, err := s.read(filepath.Join(s.Dev, d.Node), d.Size)
			if r.err = err; err == nil && !c.Member() {
				r.content = Content{UUID: blkid.Encode(c.UUID), Label: blkid.Encode(c.Label)}
			}
			select {
			case results <- r:
			case <-ctx.Done():
			}
		}()
	}
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
func (s System) locked(ctx context.Context, act func(*record) error) error {
	lock, err := os.OpenFile(s.State+".lock", os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o600)
	if err == nil {
		defer lock.Close()
		err = flock(ctx, lock)
	}
	if err != nil {
		return fmt.Errorf("cannot make names of devices: %w", err)
	}
	var r record
	if _, err := readfile.JSON(s.State, stateLimit, &r); err != nil || r.Devices == nil {
		r.Devices = map[string]known{} // Everything is read again.
	}
	acted := act(&r) // What is being read has to be known also if not all links could be made.
	return errors.Join(acted, store(s.State, r))
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
func store(file string, state record) error {
	text, err := json.Marshal(state)
	if err != nil {
		return err
	}
	return durable.Replace(file, text, 0o600)
}

// Any reports whether there are devices that get names.
func (s System) Any() bool { return len(disks(s.Sys)) > 0 || len(ports(s.Sys)) > 0 }
