package pid1

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"syscall"
	"time"

	"github.com/moby/sys/mountinfo"

	"keelson/init/reaper"
	"keelson/runtime/console"
)

// Phases of PID 1's life.
const (
	phaseStart = ""      // there is no console yet
	phaseLead  = "lead"  // in an initramfs that leads to a root on a disk
	phaseUp    = "up"    // on the way up, and up
	phaseFatal = "fatal" // it cannot boot
	phaseDown  = "down"  // on the way down
)

// state is all that PID 1 must know to go on, and what it hands to itself when it
// executes itself again.
type state struct {
	Phase string
	Fatal string // why it cannot boot
	Step  string // of the phase's list: begun last
	Done  bool   // that step is not to be done again

	Action   string                   // the way down that was asked for
	Folders  places                   // containerd's, before anything was mounted on them
	Covered  []string                 // folders in which init's mounts cover files of the image
	Kept     map[string]time.Duration // programs that are kept, and their back-off
	Children []reaper.Known
	Begun    []string          // programs that were ever started
	Panics   []time.Duration   // when, since the kernel started
	Unsaid   []console.Message // what the consoles have not taken yet

	Machine, First bool
	Own            []string
	Before         []mounted
	Unknown        bool // Before is not known
}

// mounted is a mount of an outer system.
type mounted struct {
	ID    int
	Place string
}

// Layout of a handover: magic, a slot for an action that was asked for late, a
// byte for each signal that was caught still later, then version, length and
// checksum (CRC-32) of the JSON that follows.
const (
	handoverMagic   = "keelson handover"
	handoverVersion = 1
	lateAt          = len(handoverMagic)
	lateSize        = 16
	caughtAt        = lateAt + lateSize
	caughtSize      = 96
	headAt          = caughtAt + caughtSize
	bodyAt          = headAt + 12
	// handoverLimit bounds it; a real one has some KiB.
	handoverLimit = 1 << 20
)

// encode gives the parts before and behind the slot.
func (s state) encode() (magic, rest []byte, err error) {
	body, err := json.Marshal(s)
	if len(body) > handoverLimit-bodyAt { // What can be done without goes first.
		s.Unsaid = nil
		body, err = json.Marshal(s)
	}
	if len(body) > handoverLimit-bodyAt {
		s.Before, s.Unknown = nil, true
		body, err = json.Marshal(s)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("cannot encode the handover: %w", err)
	}
	for _, n := range []uint32{handoverVersion, uint32(len(body)), crc32.ChecksumIEEE(body)} {
		rest = binary.LittleEndian.AppendUint32(rest, n)
	}
	return []byte(handoverMagic), append(rest, body...), nil
}

// errHandover is that of a handover that is none.
var errHandover = errors.New("cannot read the handover")

func decode(data []byte) (state, error) {
	var s state
	if len(data) < bodyAt || string(data[:lateAt]) != handoverMagic {
		return s, fmt.Errorf("%w: it is none", errHandover)
	}
	number := func(i int) uint32 { return binary.LittleEndian.Uint32(data[headAt+4*i:]) }
	body := data[bodyAt:]
	switch {
	case number(0) != handoverVersion:
		return s, fmt.Errorf("%w: version %d", errHandover, number(0))
	case int64(number(1)) > int64(len(body)):
		return s, fmt.Errorf("%w: it is torn", errHandover)
	}
	if body = body[:number(1)]; number(2) != crc32.ChecksumIEEE(body) {
		return s, fmt.Errorf("%w: it is damaged", errHandover)
	}
	if err := json.Unmarshal(body, &s); err != nil {
		return state{}, fmt.Errorf("%w: %w", errHandover, err)
	}
	if s.Action == "" {
		s.Action = lateAction(data[lateAt:caughtAt], data[caughtAt:headAt])
	}
	if _, ok := actionNamed(s.Action); s.Phase == phaseStart || s.Action != "" && !ok {
		return state{}, fmt.Errorf("%w: phase %q, action %q", errHandover, s.Phase, s.Action)
	}
	return s, nil
}

// lateAction is what was asked for when the state was written already.
func lateAction(slot, caught []byte) string {
	if name := strings.TrimRight(string(slot), "\x00"); name != "" {
		return name
	}
	for n, came := range caught {
		if a, ok := actions[syscall.Signal(n)]; ok && came != 0 {
			return a.name
		}
	}
	return ""
}

func actionNamed(name string) (action, bool) {
	for _, a := range actions {
		if a.name == name {
			return a, true
		}
	}
	return action{}, false
}

// setPlace keeps what a place says.
func (s *state) setPlace(p place) {
	s.Machine, s.First, s.Own, s.Before = p.machine, p.first, p.own, nil
	for _, m := range p.before {
		s.Before = append(s.Before, mounted{m.ID, m.Mountpoint})
	}
	s.Unknown = p.unknown
}

func (s *state) place() place {
	p := place{machine: s.Machine, first: s.First, own: s.Own, unknown: s.Unknown}
	for _, m := range s.Before {
		p.before = append(p.before, &mountinfo.Info{ID: m.ID, Mountpoint: m.Place})
	}
	return p
}
