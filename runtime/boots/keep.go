package boots

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/durable"
	"keelson/runtime/kmsg"
	"keelson/runtime/logs/index"
	"keelson/runtime/readfile"
)

// Keeper keeps the logs of the boot that runs.
type Keeper struct {
	boot   Boot   // set before begun is closed
	folder string // of boots
	kmsg   string
	shots  []string // folders with logs of one-shot containers
	log    *slog.Logger
	stop   context.CancelFunc
	begun  chan struct{} // closed when a recorded end is removed
	done   chan struct{}
	asked  sync.WaitGroup
	warned sync.Once
}

// Keep keeps the logs of the boot that runs, in the background, until End. An End before, by a
// supervisor that was restarted, does not count. It keeps nothing if the boot has not begun (Start).
// shots are folders with logs of one-shot containers.
func Keep(dir, kernelLog string, id ID, shots []string, log *slog.Logger) *Keeper {
	ctx, cancel := context.WithCancel(context.Background())
	k := &Keeper{folder: dir, kmsg: kernelLog, shots: shots, log: log, stop: cancel,
		begun: make(chan struct{}), done: make(chan struct{})}
	go func() { // Nothing waits for a disk that hangs.
		defer close(k.done)
		k.run(ctx, id)
	}()
	return k
}

func (k *Keeper) run(ctx context.Context, id ID) {
	k.report(k.begin(id))
	close(k.begun)
	if k.boot.Begin == nil {
		return
	}
	k.report(k.copyLogs())
	k.report(k.prune())
	k.report(k.keepKernel(ctx))
}

// begin finds the boot, and removes an end that did not come.
func (k *Keeper) begin(id ID) error {
	all, err := List(k.folder)
	b, ok := Find(all, id, 0)
	if err != nil || !ok || b.Begin == nil {
		return err
	}
	k.boot = b
	for _, file := range []string{askedFile, endFile} {
		if exists(filepath.Join(b.Dir, file)) {
			err = errors.Join(err, durable.Remove(filepath.Join(b.Dir, file)))
		}
	}
	return err
}

// report logs the first error: its message is a record of the kernel log, which is kept here.
func (k *Keeper) report(err error) {
	if err != nil {
		k.warned.Do(func() { k.log.Error("logs of this boot are not kept completely", "error", err) })
	}
}

// Ask records that the end of the boot was ordered. It does not wait for the disk. It calls e only if
// the boot has begun.
func (k *Keeper) Ask(e func() End) {
	k.asked.Go(func() {
		<-k.begun
		if k.boot.Begin != nil {
			k.report(store(k.boot.Dir, askedFile, e()))
		}
	})
}

// End records the end of the boot, with what the kernel has logged so far. Files are not written
// any more when it returns, unless ctx ends before. It calls e only if the boot has begun.
func (k *Keeper) End(ctx context.Context, e func() End) {
	k.stop()
	ended := make(chan struct{})
	go func() { // A disk may hang.
		defer close(ended)
		<-k.done
		k.asked.Wait()
		if k.boot.Begin == nil {
			return
		}
		k.report(k.copyLogs())
		k.report(store(k.boot.Dir, endFile, e()))
		_ = os.Remove(filepath.Join(k.boot.Dir, askedFile)) // The end has precedence.
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

// prune removes old boots beyond the bounds.
func (k *Keeper) prune() error {
	all, err := List(k.folder)
	if err != nil {
		return err
	}
	clean(k.folder)
	var before []Boot
	var sizes []int64
	for _, b := range all {
		if b.Number < k.boot.Number {
			before, sizes = append(before, b), append(sizes, sizeOf(b.Dir))
		}
	}
	return removeBoots(before[:k.boot.Begin.Bounds.Excess(sizes)])
}

// sizeOf returns the room that the files of a folder take.
func sizeOf(dir string) (size int64) {
	const block = 4096
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // What is missing takes no room.
		}
		if info, err := e.Info(); err == nil {
			size += (info.Size() + block - 1) / block * block
		}
		return nil
	})
	return size
}

// copyLogs copies logs of one-shot containers that are not there yet, with their times.
func (k *Keeper) copyLogs() error {
	to := k.boot.LogDir()
	room := k.boot.Begin.Bounds.oneShots() - sizeOf(to)
	var errs []error
	for _, dir := range k.shots {
		entries, _ := os.ReadDir(dir) // Without the folder there are no logs.
		for _, e := range entries {
			if !isLog(e.Name()) || !e.Type().IsRegular() || exists(filepath.Join(to, e.Name())) {
				continue
			}
			n, err := copyLog(filepath.Join(dir, e.Name()), filepath.Join(to, e.Name()), room)
			room -= n
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// copyLog copies a log that nobody writes any more, if there is room for it.
func copyLog(from, to string, room int64) (int64, error) {
	log, info, err := readfile.Open(from, os.O_RDONLY)
	if err != nil {
		return 0, fmt.Errorf("cannot keep log: %w", err)
	}
	defer log.Close()
	if info.Size() > room {
		return 0, fmt.Errorf("log %s is not kept: it is larger than what is left for those of one-shot containers", from)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return 0, fmt.Errorf("cannot keep log: %w", err)
	}
	next := to + unfinished
	f, err := os.OpenFile(next, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, fmt.Errorf("cannot keep log: %w", err)
	}
	n, err := io.Copy(f, io.LimitReader(log, room))
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = unix.Rename(next, to)
	}
	if err == nil {
		index.Copy(from, log, to, f)
		_ = os.Chtimes(to, time.Time{}, info.ModTime()) // The latest time of lines without one.
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, errors.Join(fmt.Errorf("cannot keep log %s: %w", from, err), removeIfThere(next))
	}
	return n, nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// keepKernel appends records of the kernel log until ctx ends.
func (k *Keeper) keepKernel(ctx context.Context) error {
	log, err := kmsg.Open(k.kmsg)
	if err != nil {
		return err
	}
	defer log.Close()
	defer context.AfterFunc(ctx, func() { _ = log.SetDeadline(time.Unix(1, 0)) })()
	w := newKernelWriter(filepath.Join(k.boot.Dir, kernelFile), k.boot.Begin.Bounds.kernel()/2)
	defer w.close()
	b := make([]byte, kmsg.RecordLimit)
	synced := false
	for {
		n, err := log.Read(b)
		if errors.Is(err, kmsg.ErrOverwritten) {
			continue
		}
		if err != nil {
			return err
		}
		if n > 0 {
			w.add(b[:n])
			continue
		}
		k.report(w.flush())
		if ctx.Err() != nil {
			return w.sync()
		}
		if !synced { // The messages of the boot, once. The rest is with the kernel for half a minute.
			k.report(w.sync())
			synced = true
		}
		if err := log.Wait(); err != nil && ctx.Err() == nil {
			return fmt.Errorf("cannot keep the kernel log: %w", err)
		}
	}
}
