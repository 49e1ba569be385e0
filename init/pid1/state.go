package pid1

import (
	"encoding/json"
	"fmt"
	"time"

	"keelson/init/pid1/containerd"
	"keelson/init/pid1/environment"
	"keelson/init/pid1/handover"
	"keelson/init/pid1/trial"
	"keelson/init/reaper"
	"keelson/runtime/console"
)

// Phases of PID 1.
const (
	phaseStart      = ""           // there is no console yet
	phaseSwitchroot = "switchroot" // in an initramfs that leads to a root on a disk
	phaseUp         = "up"         // booting or up
	phaseFatal      = "fatal"      // the system cannot boot
	phaseDown       = "down"       // shutting down
)

// state is all that PID 1 needs to continue after it has re-executed itself.
type state struct {
	Phase        string
	Fatal        string // why the system cannot boot
	LastStep     string // key of the step of the phase's list that was started last
	LastStepDone bool   // that step is not repeated

	Action          string                   // name of the requested action
	ContainerdFiles containerd.Files         // when containerd was started
	Covered         []string                 // folders in which init's mounts cover files of the image
	Trial           trial.Trial              // of programs; zero: none is known
	Daemons         map[string]time.Duration // programs that are kept running, and their backoff
	Children        []reaper.Known
	Started         []string          // programs that were ever started
	Descriptors     []int             // of the descriptor store
	Panics          []time.Duration   // times of panics since the kernel started
	Unwritten       []console.Message // lines that the consoles have not taken yet

	Env environment.Environment
}

// encode returns the payload of a handover. If it is too large, console lines are left
// out, then the mounts of the outer system.
func (s state) encode() ([]byte, error) {
	data, err := json.Marshal(s)
	if len(data) > handover.PayloadMax {
		s.Unwritten = nil
		data, err = json.Marshal(s)
	}
	if len(data) > handover.PayloadMax {
		s.Env.Before, s.Env.BeforeUnknown = nil, true
		data, err = json.Marshal(s)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot encode the state: %w", err)
	}
	return data, nil
}

// decode returns the state in a handover, with an action that was requested after it
// was written.
func decode(r handover.Received) (state, error) {
	var s state
	if err := json.Unmarshal(r.Payload, &s); err != nil {
		return state{}, fmt.Errorf("%w: %w", handover.ErrCorrupt, err)
	}
	if s.Action == "" {
		s.Action = r.Note
	}
	for _, sig := range r.Caught {
		if a, ok := actions[sig]; ok && s.Action == "" {
			s.Action = a.name
		}
	}
	if _, ok := actionNamed(s.Action); s.Phase == phaseStart || s.Action != "" && !ok {
		return state{}, fmt.Errorf("%w: phase %q, action %q", handover.ErrCorrupt, s.Phase, s.Action)
	}
	return s, nil
}

func actionNamed(name string) (action, bool) {
	for _, a := range actions {
		if a.name == name {
			return a, true
		}
	}
	return action{}, false
}
