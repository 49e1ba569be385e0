package reader

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"keelson/runtime/boots"
	"keelson/runtime/kmsg"
	"keelson/runtime/logs/index"
)

// ErrNoBoot is returned for a boot of which nothing is kept.
var ErrNoBoot = errors.New("no such boot is kept")

// ListBoots returns the boots of which logs are kept, the oldest first. If they have the one that
// runs, it is the last one.
func (s Set) ListBoots() ([]boots.Boot, error) { return boots.List(s.Boots) }

// view restricts a set to the lines of one boot.
type view struct {
	shared string       // folder of logs that have lines of several boots
	all    []boots.Boot // the oldest first
	at     int          // the place of the boot among them
	past   bool         // it has ended
	epoch  time.Duration
}

// Boot returns the logs of one boot: 0 is the one that runs, -1 the one before, and so on. Those of
// a boot that has ended cannot be followed. The error is ErrNoBoot if it is not kept.
func (s Set) Boot(place int) (Set, error) {
	all, err := s.ListBoots()
	if err != nil {
		return s, err
	}
	this, err := boots.This()
	if err != nil {
		return s, err
	}
	if place == 0 && len(all) == 0 {
		return s, nil // All logs are of this boot.
	}
	b, ok := boots.Find(all, this, place)
	if !ok && place != 0 {
		return s, fmt.Errorf("boot %d: %w: logs of boots are kept when /var is on a disk (list them by --list-boots)", place, ErrNoBoot)
	}
	if !ok { // It could not be recorded.
		b = boots.Boot{ID: this}
		all = append(all, b)
	}
	at := slices.IndexFunc(all, func(o boots.Boot) bool { return o.Number == b.Number })
	s.view = &view{shared: s.Folders[0], all: all, at: at, past: place != 0}
	if place != 0 {
		s.view.epoch = b.Epoch()
		s.Folders, s.Kmsg, s.Timeline, s.Query = []string{s.Folders[0], b.LogDir()}, "", "", ""
	}
	return s, nil
}

// boot returns the boot that a set is restricted to, if that has ended.
func (s Set) boot() (b boots.Boot, ok bool) {
	if s.view == nil || !s.view.past {
		return b, false
	}
	return s.view.all[s.view.at], true
}

// restrict leaves the lines of the boot in parts of a log, and closes parts that have none.
func (v *view) restrict(path string, parts []*part) []*part {
	if v == nil {
		return parts
	}
	return slices.DeleteFunc(parts, func(p *part) bool {
		if v.past {
			p.past = &pastBoot{index.BootID(v.all[v.at].ID[:8]), v.epoch, v.all[v.at].Seen()}
		}
		if filepath.Dir(path) == v.shared {
			p.begin, p.end = v.span(p)
		}
		if v.past && p.begin >= p.end {
			p.close()
			return true
		}
		return false
	})
}

// span returns where the lines of the boot begin and end in a part.
func (v *view) span(p *part) (begin, end int64) {
	inode, born, size, err := index.Identify(p.f)
	if err != nil {
		return 0, 0
	}
	f := markedFile{inode: inode, born: born, size: size}
	if p.index != nil {
		f.boots = p.index.Boots
	}
	if v.at+1 == len(v.all) {
		return f.begin(v.all[v.at], size), p.end
	}
	end = min(p.end, f.begin(v.all[v.at+1], size))
	return min(end, f.begin(v.all[v.at], end)), end
}

// markedFile is a file with lines of several boots.
type markedFile struct {
	inode      uint64
	born, size int64
	boots      []index.Boot // of its index
}

// begin returns where the lines of a boot begin. The mark of the boot says so, except for a file
// that was truncated or copied since: then its index does. What a file without a mark has was
// written in the boot or later. unknown is returned for a boot without marks.
func (f markedFile) begin(b boots.Boot, unknown int64) int64 {
	at, indexed := int64(0), false
	for _, o := range f.boots {
		if o.ID == index.BootID(b.ID[:8]) && b.ID != (boots.ID{}) {
			at, indexed = o.Start, true
		}
	}
	if b.Begin == nil {
		if indexed {
			return at
		}
		return unknown
	}
	for _, m := range b.Begin.Marks {
		if m.Inode != f.inode || m.Born != f.born {
			continue
		}
		if m.Offset > f.size { // It was truncated in this boot, or later.
			return 0
		}
		if indexed {
			return min(m.Offset, at)
		}
		return m.Offset
	}
	return at
}

// pastBoot is a boot that has ended.
type pastBoot struct {
	id    index.BootID
	epoch time.Duration // wall clock minus time since the boot
	seen  time.Time     // when it was last seen to run
}

// keptKernel reads the kernel log of a boot that has ended, and the last words of its kernel:
// keelson's own messages, or all others.
type keptKernel struct {
	boot  boots.Boot
	own   bool
	epoch time.Duration
	file  *file

	last  time.Duration // of the last record
	texts []string      // of the records at that time
	words []boots.Line  // that come after it
	read  bool          // words are set
}

// lastTexts bounds texts.
const lastTexts = 64

func openKept(b boots.Boot, own bool, epoch time.Duration) (*keptKernel, error) {
	f, err := openFile(b.KernelLog(), kernelName, "", &clock{}, nil)
	if err != nil {
		return nil, err
	}
	f.hold = true
	return &keptKernel{boot: b, own: own, epoch: epoch, file: f}, nil
}

func (k *keptKernel) close()  { k.file.close() }
func (k *keptKernel) follow() {}

func (k *keptKernel) start(time.Time) error {
	k.last, k.texts, k.words, k.read = 0, nil, nil, false
	return k.file.jump(0, 0)
}

// next skips lines that are no records, which a power cut can leave.
func (k *keptKernel) next() (Entry, bool, error) {
	for {
		line, ok, err := k.file.next()
		if err != nil {
			return Entry{}, false, err
		}
		if !ok {
			return k.nextWord()
		}
		r, ok := kmsg.Parse(line.Text)
		if !ok {
			continue
		}
		k.note(r)
		if e, ok := kernelEntry(r, k.own); ok {
			e.Time = k.wall(r.At)
			return e, true, nil
		}
	}
}

// note remembers what the last words are later than.
func (k *keptKernel) note(r kmsg.Record) {
	if r.At != k.last {
		k.last, k.texts = r.At, k.texts[:0]
	}
	if len(k.texts) < lastTexts {
		k.texts = append(k.texts, string(r.Text))
	}
}

func (k *keptKernel) nextWord() (Entry, bool, error) {
	if !k.read {
		k.words, k.read = k.boot.LastWords(k.last, k.texts), true
	}
	for len(k.words) > 0 {
		line := k.words[0]
		k.words = k.words[1:]
		text, mine := bytes.CutPrefix([]byte(line.Text), []byte(keelsonPrefix))
		if mine == k.own {
			return Entry{Time: k.wall(line.At), Bound: !line.Timed, Name: messagesName(k.own), Text: text}, true, nil
		}
	}
	return Entry{}, false, nil
}

func (k *keptKernel) wall(at time.Duration) time.Time { return time.Unix(0, int64(k.epoch+at)) }
