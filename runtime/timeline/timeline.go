package timeline

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/sys/unix"

	"keelson/runtime/paths"
)

// Path is where the guest keeps the timeline of the running boot.
const Path = paths.State + "/timeline"

// Stages of the boot and the shutdown, in their order.
const (
	Kernel     = "kernel"     // when /init started, with its version
	Mounts     = "mounts"     // core mounts are there
	Modules    = "modules"    // hardware's modules are loaded
	Clock      = "clock"      // system clock set from the hardware clock
	Hostname   = "hostname"   // host name set
	Network    = "network"    // loopback and ip= are up
	Volumes    = "volumes"    // /containers/volumes are mounted
	Onboot     = "onboot"     // one onboot container ended
	Boots      = "boots"      // logs of this boot are kept, and how the one before ended
	Rescue     = "rescue"     // a person is asked what to do, or has answered
	Containerd = "containerd" // containerd answers
	Service    = "service"    // a service changed its state
	Ready      = "ready"      // every wanted service runs
	Degraded   = "degraded"   // all left their first start, some failed
	Shutdown   = "shutdown"   // a step of the way down
	Fatal      = "fatal"      // the system cannot boot
)

// Event is one thing that happened.
type Event struct {
	At     time.Duration `json:"at"`               // since the kernel started
	Stage  string        `json:"stage"`            // one of the constants above
	Name   string        `json:"name,omitempty"`   // which one of its kind
	Result string        `json:"result,omitempty"` // how it ended
	Took   time.Duration `json:"took,omitempty"`   // 0 when not timed
	Note   string        `json:"note,omitempty"`   // what is done about it; only with Took
}

// Now is the time since the kernel started, suspend included.
func Now() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// String returns the event as the console shows it:
// "[   1.234] STAGE NAME: RESULT after 0.210s; NOTE". Empty parts are left out.
func (e Event) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "[%8.3f] %s", e.At.Seconds(), OneLine(e.Stage))
	if e.Name != "" {
		b.WriteString(" " + OneLine(e.Name))
	}
	if e.Result != "" || e.Took > 0 {
		b.WriteByte(':')
	}
	if e.Result != "" {
		b.WriteString(" " + OneLine(e.Result))
	}
	if e.Took > 0 {
		fmt.Fprintf(&b, " after %.3fs", e.Took.Seconds())
	}
	if note := OneLine(e.Note); note != "" {
		b.WriteString(noteMark + note)
	}
	return b.String()
}

// noteMark stands between a time and a note.
const noteMark = "; "

// Outcome returns the result and the note.
func (e Event) Outcome() string {
	if e.Note == "" {
		return e.Result
	}
	return e.Result + noteMark + e.Note
}

// OneLine replaces control characters, which texts of other programs may have.
func OneLine(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s))
}

// marker begins an event in a line of the console. The name of the program distinguishes
// it from a line of the kernel.
const marker = "keelson: ["

// stageLetters are the characters of a stage's name.
const stageLetters = "abcdefghijklmnopqrstuvwxyz-"

// ParseLine finds and reads an event in a line of the console.
func ParseLine(line string) (Event, bool) {
	_, rest, ok := strings.Cut(line, marker)
	if !ok {
		return Event{}, false
	}
	stamp, rest, ok := strings.Cut(rest, "] ")
	if !ok {
		return Event{}, false
	}
	at, ok := parseSeconds(strings.TrimSpace(stamp))
	if !ok {
		return Event{}, false
	}
	head, result, _ := strings.Cut(strings.TrimRight(rest, "\r\n "), ":")
	stage, name, _ := strings.Cut(head, " ")
	if stage == "" || strings.Trim(stage, stageLetters) != "" {
		return Event{}, false
	}
	e := Event{At: at, Stage: stage, Name: strings.TrimSpace(name)}
	e.Result, e.Took, e.Note = cutTook(result)
	return e, true
}

// cutTook takes the last " after 0.210s" off a result, where nothing or a note
// follows it.
func cutTook(s string) (result string, took time.Duration, note string) {
	const mark = " after "
	for end := len(s); ; {
		i := strings.LastIndex(s[:end], mark)
		if i < 0 {
			return strings.TrimSpace(s), 0, ""
		}
		text, note, noted := strings.Cut(s[i+len(mark):], noteMark)
		if number, ok := strings.CutSuffix(text, "s"); ok {
			note = strings.TrimSpace(note)
			if d, ok := parseSeconds(number); ok && noted == (note != "") {
				return strings.TrimSpace(s[:i]), d, note
			}
		}
		end = i
	}
}

// parseSeconds reads seconds with exactly three decimals.
func parseSeconds(s string) (time.Duration, bool) {
	whole, milli, ok := strings.Cut(s, ".")
	if !ok || len(milli) != 3 {
		return 0, false
	}
	sec, err1 := strconv.ParseUint(whole, 10, 32)
	ms, err2 := strconv.ParseUint(milli, 10, 32)
	if err1 != nil || err2 != nil {
		return 0, false
	}
	return time.Duration(sec)*time.Second + time.Duration(ms)*time.Millisecond, true
}

// Append adds e to the file at path with a single write.
func Append(path string, e Event) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("cannot encode event %s: %w", e.Stage, err)
	}
	// O_NONBLOCK: PID 1 must not wait for the other end of a fifo.
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_NONBLOCK, 0o644)
	if err != nil {
		return fmt.Errorf("cannot append to timeline: %w", err)
	}
	_, werr := f.Write(append(line, '\n'))
	if err := f.Close(); werr == nil {
		werr = err
	}
	if werr != nil {
		return fmt.Errorf("cannot append to timeline: %w", werr)
	}
	return nil
}

// readLimit bounds what Read takes into memory.
const readLimit = 4 << 20

// Read returns the events of the file at path, in the order in which they were written.
// Lines that are not events (for example cut off by a full disk) are ignored.
func Read(path string) ([]Event, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read timeline: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, readLimit))
	if err != nil {
		return nil, fmt.Errorf("cannot read timeline: %w", err)
	}
	var events []Event
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		if e, ok := Parse(s.Bytes()); ok {
			events = append(events, e)
		}
	}
	return events, nil
}

// Parse reads an event that Append has written, a line of the file.
func Parse(line []byte) (e Event, ok bool) {
	err := json.Unmarshal(line, &e)
	return e, err == nil && e.Stage != ""
}
