package boots

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"keelson/runtime/durable"
	"keelson/runtime/readfile"
)

const (
	mostDumps = 64        // files of pstore that are stored of one boot
	dumpLimit = 256 << 10 // the largest one
	// compressedSuffix ends the names of files that the kernel has not unpacked.
	compressedSuffix = ".enc.z"
	dmesgPrefix      = "dmesg-"
	consolePrefix    = "console-"
)

// dump is a file of pstore.
type dump struct {
	name string
	data []byte
}

// readDumps reads the files of pstore that have the kernel log. Those that are too large or too
// many are left, with an error.
func readDumps(dir string, limit int64) (all []dump, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot list the last words of the kernel: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), dmesgPrefix) && !strings.HasPrefix(e.Name(), consolePrefix) {
			continue
		}
		if len(all) == mostDumps {
			errs = append(errs, fmt.Errorf("%s has more than %d files with last words of the kernel: the others stay there", dir, mostDumps))
			break
		}
		data, err := readfile.NoFollow(filepath.Join(dir, e.Name()), min(dumpLimit, limit))
		if err != nil {
			errs = append(errs, fmt.Errorf("last words of the kernel are not stored: %w", err))
			continue
		}
		limit -= int64(len(data))
		all = append(all, dump{e.Name(), data})
	}
	return all, errors.Join(errs...)
}

// storedDumps returns the files of pstore that a boot has.
func storedDumps(b Boot) []dump {
	entries, _ := os.ReadDir(b.Dir) // What cannot be read is missing.
	var all []dump
	for _, e := range entries {
		if name, ok := strings.CutPrefix(e.Name(), pstorePrefix); ok && len(all) < mostDumps {
			if data, err := readfile.NoFollow(filepath.Join(b.Dir, e.Name()), dumpLimit); err == nil {
				all = append(all, dump{name, data})
			}
		}
	}
	return all
}

// storeDumps stores files of pstore with a boot.
func storeDumps(b Boot, all []dump) error {
	for _, d := range all {
		if err := durable.WriteFile(filepath.Join(b.Dir, pstorePrefix+d.name), d.data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// equalDump reports whether two files are the same.
func equalDump(a, b dump) bool { return a.name == b.name && bytes.Equal(a.data, b.data) }

// Line is a line of the kernel log in last words.
type Line struct {
	At    time.Duration // since the start of the kernel
	Timed bool          // At is known
	Text  string
}

// words are the parsed last words of a kernel.
type lastWords struct {
	reason string // "Panic", "Oops", …; empty: the console, which says nothing of an end
	count  uint64 // of the dump
	part   uint64 // 1 is the newest
	lines  []Line
}

// heading is the first line of a dump of the kernel log (fs/pstore/platform.c).
var heading = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([A-Z][A-Za-z ]*)#([0-9]{1,9}) Part([0-9]{1,9})$`) })

// parseDump reads a file of pstore. ok is false if it has no text.
func parseDump(d dump) (w lastWords, ok bool) {
	text := d.data
	if strings.HasSuffix(d.name, compressedSuffix) {
		if text, ok = inflate(text); !ok {
			return w, false
		}
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, dumpLimit+1)
	for first := true; lines.Scan(); first = false {
		line := strings.TrimRight(lines.Text(), "\r\x00")
		if m := heading().FindStringSubmatch(line); first && m != nil && strings.HasPrefix(d.name, dmesgPrefix) {
			w.reason = m[1]
			w.count, _ = strconv.ParseUint(m[2], 10, 64) // The digits fit.
			w.part, _ = strconv.ParseUint(m[3], 10, 64)
			continue
		}
		if line = strings.Trim(line, "\x00"); line != "" {
			w.lines = append(w.lines, parseLine(line))
		}
	}
	return w, lines.Err() == nil && len(w.lines) > 0
}

// inflate unpacks what the kernel has packed with its default, deflate without a header.
func inflate(data []byte) ([]byte, bool) {
	text, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(data)), dumpLimit))
	return text, len(text) > 0 && (err == nil || errors.Is(err, io.ErrUnexpectedEOF))
}

// lineStart is what begins a line of the kernel log: <PRIORITY>[ SECONDS.MICROSECONDS].
var lineStart = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(?:<[0-9]{1,5}>)?\[ *([0-9]{1,9})\.([0-9]{6})\](?:\[ *[TC][0-9]+\])? ?(.*)$`)
})

func parseLine(line string) Line {
	m := lineStart().FindStringSubmatch(line)
	if m == nil {
		return Line{Text: line}
	}
	seconds, _ := strconv.ParseInt(m[1], 10, 64) // The digits fit.
	micros, _ := strconv.ParseInt(m[2], 10, 64)
	return Line{At: time.Duration(seconds)*time.Second + time.Duration(micros)*time.Microsecond, Timed: true, Text: m[3]}
}

// arrange returns what dumps say, in the order in which the kernel has written it. The console is
// used only without others, since it has the same lines.
func arrange(dumps []dump) (all []lastWords) {
	var console []lastWords
	for _, d := range dumps {
		switch w, ok := parseDump(d); {
		case !ok:
		case w.reason == "":
			console = append(console, w)
		default:
			all = append(all, w)
		}
	}
	if len(all) == 0 {
		return console
	}
	slices.SortStableFunc(all, func(a, b lastWords) int {
		return cmp.Or(cmp.Compare(a.count, b.count), cmp.Compare(b.part, a.part))
	})
	return all
}

// panicIn returns the message of the kernel panic in dumps.
func panicIn(dumps []dump) (text string, found bool) {
	const message = "Kernel panic - not syncing: "
	for _, w := range arrange(dumps) {
		if w.reason == "Panic" {
			found = true
		}
		for _, l := range w.lines {
			if _, after, ok := strings.Cut(l.Text, message); ok && w.reason != "" {
				text, found = after, true
			}
		}
	}
	return text, found
}

// LastWords returns the lines of a kernel that crashed that come after what is kept of its log:
// the time of the last record, and the texts at that time.
func (b Boot) LastWords(last time.Duration, texts []string) (lines []Line) {
	for _, w := range arrange(storedDumps(b)) {
		for _, l := range w.lines {
			if !l.Timed {
				l.At = last
			}
			if l.At < last || l.At == last && slices.Contains(texts, l.Text) {
				continue
			}
			if l.At > last {
				last, texts = l.At, nil
			}
			texts = append(texts, l.Text)
			lines = append(lines, l)
		}
	}
	return lines
}
