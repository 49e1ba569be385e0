package boots

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"keelson/runtime/durable"
	"keelson/runtime/logs/index"
	"keelson/runtime/watchdog"
)

// Options say where things are when a boot begins.
type Options struct {
	Dir      string // of boots
	Logs     string // folder of the logs of services
	Pstore   string
	Watchdog string // folder of the watchdogs in sysfs
	Bounds   Bounds
	ID       ID
	Begin    Begin // Bounds and Marks are set by Start
}

// System returns the options for the machine.
func System() Options {
	return Options{Dir: Dir, Logs: "/var/log", Pstore: "/sys/fs/pstore", Watchdog: watchdog.SysDir, Bounds: DefaultBounds()}
}

// Start begins a boot: it finds out how the one before ended, stores the last words of its kernel
// and frees their room in pstore. It returns the boot that runs, and the one before it, if there is
// one. kept is false if the folder is in memory. An error may be about a part only: then kept is
// true.
func Start(o Options) (this Boot, before *Boot, kept bool, err error) {
	above := o.Dir
	for {
		if above = filepath.Dir(above); above == "/" || exists(above) {
			break
		}
	}
	total, err := capacity(above)
	if errors.Is(err, errMemory) {
		return this, nil, false, nil
	}
	if err != nil {
		return this, nil, false, fmt.Errorf("cannot keep logs of boots: %w", err)
	}
	return start(o, total)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func start(o Options, total int64) (this Boot, before *Boot, kept bool, err error) {
	o.Bounds = o.Bounds.on(total)
	all, err := List(o.Dir)
	if err != nil || o.Bounds.Boots == 0 {
		return this, nil, false, errors.Join(err, removeBoots(all))
	}
	if b, ok := Find(all, o.ID, 0); ok { // It has begun already.
		return b, nil, true, nil
	}
	// The folder above has versions of services, too: containers in user namespaces pass it.
	if err := durable.MkdirAll(filepath.Dir(o.Dir), 0o711); err != nil {
		return this, nil, false, err
	}
	if err := durable.MkdirAll(o.Dir, 0o700); err != nil {
		return this, nil, false, err
	}
	clean(o.Dir)
	before, partly := o.finish(all)
	for full(partly) && makeRoom(&all) {
		before, partly = o.finish(all)
	}
	number := 1
	if before != nil {
		number = before.Number + 1
	}
	o.Begin.Bounds, o.Begin.Marks = o.Bounds, marks(o.Logs)
	this, err = create(o.Dir, number, o.ID, beginFile, o.Begin)
	for full(err) && makeRoom(&all) {
		this, err = create(o.Dir, number, o.ID, beginFile, o.Begin)
	}
	return this, before, err == nil, errors.Join(err, partly)
}

// full reports whether an error is about a disk without room.
func full(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// makeRoom removes the oldest boot, but not the last one, which is what a person looks for.
func makeRoom(all *[]Boot) bool {
	if len(*all) < 2 || (*all)[0].remove() != nil {
		return false
	}
	*all = (*all)[1:]
	return true
}

// create makes the folder of a boot with one file. The folder gets its name last.
func create(dir string, number int, id ID, file string, v any) (Boot, error) {
	next := filepath.Join(dir, unfinished)
	if err := os.RemoveAll(next); err != nil {
		return Boot{}, fmt.Errorf("cannot keep logs of this boot: %w", err)
	}
	err := os.Mkdir(next, 0o700)
	if err == nil {
		err = store(next, file, v)
	}
	b := Boot{Number: number, ID: id, Dir: filepath.Join(dir, name(number, id))}
	if err == nil {
		err = durable.Rename(next, b.Dir)
	}
	if err != nil {
		return Boot{}, errors.Join(fmt.Errorf("cannot keep logs of this boot: %w", err), os.RemoveAll(next))
	}
	return load(b), nil
}

func store(dir, file string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", file, err)
	}
	return durable.WriteFile(filepath.Join(dir, file), append(text, '\n'), 0o600)
}

// Names of folders that are no boots.
const (
	unfinished    = ".new"
	removedPrefix = ".removed-"
)

// clean removes what an interrupted change has left.
func clean(dir string) {
	entries, _ := os.ReadDir(dir) // What cannot be removed takes room only.
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), removedPrefix) {
			_ = os.RemoveAll(filepath.Join(dir, e.Name()))
		}
	}
}

// remove removes a boot: first its name, so that half a boot is none.
func (b Boot) remove() error {
	gone := filepath.Join(filepath.Dir(b.Dir), removedPrefix+filepath.Base(b.Dir))
	err := os.Rename(b.Dir, gone)
	if err = errors.Join(err, os.RemoveAll(gone)); err != nil {
		return fmt.Errorf("cannot remove logs of an old boot: %w", err)
	}
	return nil
}

func removeBoots(all []Boot) error {
	var errs []error
	for _, b := range all {
		errs = append(errs, b.remove())
	}
	return errors.Join(errs...)
}

// finish finds out how the last boot ended. A power cut in it changes nothing: it is done again.
// Last words belong to the last boot unless that has ended in order: then the boot that crashed was
// not recorded, and gets a record here.
func (o Options) finish(all []Boot) (*Boot, error) {
	dumps, partly := readDumps(o.Pstore, o.Bounds.pstore())
	var last *Boot
	if len(all) > 0 {
		last = &all[len(all)-1]
		stored := storedDumps(*last)
		text, panicked := panicIn(append(dumps, stored...))
		if last.End == nil {
			end := End{How: Lost, Watchdog: watchdog.Reasons(o.Watchdog)}
			if panicked {
				end.How, end.Text = Panic, limited(text)
			} else if last.Asked != nil {
				end.Text = limited("while it ended by " + last.Asked.String())
			}
			if err := storeDumps(*last, dumps); err != nil {
				return last, errors.Join(err, partly) // They stay in pstore.
			}
			if err := store(last.Dir, endFile, end); err != nil {
				return last, errors.Join(err, partly)
			}
			last.End = &end
			return last, errors.Join(o.release(dumps), partly)
		}
		dumps = slices.DeleteFunc(dumps, func(d dump) bool { // Stored, but not removed before a power cut.
			return slices.ContainsFunc(stored, func(s dump) bool { return equalDump(s, d) }) && o.release([]dump{d}) == nil
		})
	}
	text, panicked := panicIn(dumps)
	if !panicked {
		if last == nil || len(dumps) == 0 {
			return last, partly // Without a boot, an oops is nobody's.
		}
		// One of another content and the same name is left for the next boot.
		taken := storedDumps(*last)
		dumps = slices.DeleteFunc(dumps, func(d dump) bool {
			return slices.ContainsFunc(taken, func(s dump) bool { return s.name == d.name })
		})
		err := storeDumps(*last, dumps)
		if err == nil {
			err = o.release(dumps)
		}
		return last, errors.Join(err, partly)
	}
	number := 1
	if last != nil {
		number = last.Number + 1
	}
	b, err := create(o.Dir, number, ID{}, endFile, End{How: Panic, Text: limited(text), Watchdog: watchdog.Reasons(o.Watchdog)})
	if err != nil {
		return last, errors.Join(err, partly)
	}
	if err := storeDumps(b, dumps); err != nil {
		return &b, errors.Join(err, partly)
	}
	return &b, errors.Join(o.release(dumps), partly)
}

// release removes files that are stored from pstore, whose room is small.
func (o Options) release(dumps []dump) error {
	var errs []error
	for _, d := range dumps {
		if err := os.Remove(filepath.Join(o.Pstore, d.name)); err != nil {
			errs = append(errs, fmt.Errorf("cannot free the room of last words that are stored: %w", err))
		}
	}
	return errors.Join(errs...)
}

// textLimit bounds a text of the kernel in a record, in bytes.
const textLimit = 512

func limited(text string) string { return strings.ToValidUTF8(text[:min(len(text), textLimit)], "") }

// mostMarks bounds the record of a boot.
const mostMarks = 4096

// marks returns where the boot begins in the logs of a folder.
func marks(dir string) (all []Mark) {
	entries, _ := os.ReadDir(dir) // Without the folder there are no logs.
	for _, e := range entries {
		if !isLog(e.Name()) || !e.Type().IsRegular() || len(all) == mostMarks {
			continue
		}
		f, err := os.OpenFile(filepath.Join(dir, e.Name()), os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
		if err != nil {
			continue
		}
		if inode, born, size, err := index.Identify(f); err == nil {
			all = append(all, Mark{Inode: inode, Born: born, Offset: size})
		}
		_ = f.Close()
	}
	return all
}

// isLog reports whether a file is a log or a rotated one: NAME.log or NAME.log.N.
func isLog(name string) bool {
	base := strings.TrimRight(name, "0123456789")
	return !strings.HasPrefix(name, ".") && (strings.HasSuffix(name, ".log") || strings.HasSuffix(base, ".log."))
}
