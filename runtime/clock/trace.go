package clock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/durable"
	"keelson/runtime/readfile"
)

// TraceInterval is the time between two writes of the trace: how far behind a clock may be that begins at
// the trace, after a power cut. Each write is one of an inode.
const TraceInterval = time.Hour

// Raise sets the system clock to the trace if that is later, and calls [Remember]. to is zero if the
// clock was not set: without a trace, or if something else has set the clock since the boot. A
// trace that is implausible in an image that was built at built is an error.
func Raise(trace, record string, built time.Time) (from, to time.Time, err error) {
	from = time.Now().UTC()
	to, err = readTrace(trace, built)
	if err != nil || !to.After(from) {
		return from, time.Time{}, err
	}
	// Without the record, nobody knows: a clock that is ahead of all its traces is worse than one behind.
	if set, err := WasSet(record); set || err != nil || Synchronised() {
		return from, time.Time{}, err
	}
	if err := Set(to); err != nil {
		return from, time.Time{}, err
	}
	return from, to, Remember(record)
}

// readTrace returns the time of a trace, or zero if there is none.
func readTrace(file string, built time.Time) (time.Time, error) {
	info, err := os.Lstat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("cannot use the time on the disk: %w", err)
	}
	at := info.ModTime().UTC()
	if at.Before(built) { // The image is newer.
		return time.Time{}, nil
	}
	if why := Implausible(at, built); why != "" {
		return time.Time{}, fmt.Errorf("the time of %s, %s, is not used: %s", file, at.Format(time.RFC3339), why)
	}
	return at, nil
}

// leave writes a trace of the time, unless it would be lost at the reboot or the disk is read-only.
func leave(file string) error {
	dir := filepath.Dir(file)
	var st unix.Statfs_t
	err := unix.Statfs(dir, &st)
	for above := dir; errors.Is(err, unix.ENOENT) && above != "/"; {
		above = filepath.Dir(above)
		err = unix.Statfs(above, &st)
	}
	if err != nil {
		return fmt.Errorf("cannot store the time: cannot examine %s: %w", dir, err)
	}
	if inMemory(&st) || int64(st.Flags)&unix.ST_RDONLY != 0 {
		return nil
	}
	// The folder also has versions of services: containers in user namespaces pass it.
	if err := durable.MkdirAll(dir, 0o711); err != nil {
		return fmt.Errorf("cannot store the time: %w", err)
	}
	return touch(file)
}

func inMemory(st *unix.Statfs_t) bool {
	return int64(st.Type) == unix.TMPFS_MAGIC || int64(st.Type) == unix.RAMFS_MAGIC
}

// touch gives a file the modification time of now.
func touch(file string) error {
	f, _, err := readfile.Open(file, os.O_WRONLY)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	}
	if err != nil {
		return fmt.Errorf("cannot store the time: %w", err)
	}
	now := unix.NsecToTimeval(time.Now().UnixNano())
	err = unix.Futimes(int(f.Fd()), []unix.Timeval{now, now})
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("cannot store the time in %s: %w", file, err)
	}
	return nil
}

// Keeper leaves traces of the time, and writes it to the hardware clock at the end.
type Keeper struct {
	Trace, Record, Hardware string // files; Hardware is a device
	BuildTime               string
	Logger                  *slog.Logger
	done                    chan struct{}
}

// Keep starts a keeper for the machine. When ctx ends, the machine is about to shut down.
func Keep(ctx context.Context, log *slog.Logger) *Keeper {
	k := &Keeper{Trace: Trace, Record: Record, Hardware: Hardware, BuildTime: BuildTime, Logger: log}
	k.start(ctx)
	return k
}

func (k *Keeper) start(ctx context.Context) {
	k.done = make(chan struct{})
	go func() { // Only Wait waits for it: a disk or a driver may hang.
		defer close(k.done)
		k.run(ctx)
	}()
}

// Wait waits until the time is stored, after the end of Keep's context, or until ctx ends.
func (k *Keeper) Wait(ctx context.Context) {
	select {
	case <-k.done:
	case <-ctx.Done():
		k.Logger.Warn("the time is not stored: a disk or the hardware clock does not answer")
	}
}

func (k *Keeper) run(ctx context.Context) {
	tick := time.NewTicker(TraceInterval)
	defer tick.Stop()
	var last string // A disk that fails is logged once.
	for {
		text := ""
		if err := leave(k.Trace); err != nil {
			text = err.Error()
		}
		if text != "" && text != last {
			k.Logger.Warn("after a power cut, the clock may begin in the past", "error", text)
		}
		last = text
		select {
		case <-tick.C:
		case <-ctx.Done():
			k.end()
			return
		}
	}
}

// end stores the time at the end of a boot.
func (k *Keeper) end() {
	if err := leave(k.Trace); err != nil {
		k.Logger.Warn("the clock may begin in the past", "error", err)
	}
	if !k.knows() {
		return
	}
	if err := writeHardware(k.Hardware); err != nil {
		k.Logger.Warn("the hardware clock keeps its time", "error", err)
	}
}

// knows reports whether the system clock is better than the hardware clock, from which it was set: a
// program keeps it right, or has set it, to a time that the next boot will believe.
func (k *Keeper) knows() bool {
	built, _ := Built(k.BuildTime) // An error was reported at boot.
	if Implausible(time.Now(), built) != "" {
		return false
	}
	set, err := WasSet(k.Record)
	return Synchronised() || err == nil && set
}
