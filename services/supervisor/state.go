package supervisor

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"keelson/runtime/durable"
	"keelson/runtime/timeline"
	"keelson/services/machine"
	"keelson/services/task"
)

// saved is what the next supervisor needs to know of a service, in
// StateDir/state/NAME.json. Durations are times of CLOCK_BOOTTIME.
type saved struct {
	State       machine.State   `json:"state"`
	Pid         int             `json:"pid,omitempty"`
	Launched    time.Duration   `json:"launched,omitempty"`
	Started     time.Duration   `json:"started,omitempty"`
	Ended       time.Duration   `json:"ended,omitempty"`
	Delay       time.Duration   `json:"delay,omitempty"` // from Ended to the next start
	Entered     time.Duration   `json:"entered"`         // when State was entered
	Restarts    int             `json:"restarts"`
	Failures    int             `json:"failures"`
	Times       []time.Duration `json:"times,omitempty"` // of restarts, for the limit
	LastExit    string          `json:"lastExit,omitempty"`
	Exits       map[string]int  `json:"exits,omitempty"` // by task.Exit.Reason
	Reason      string          `json:"reason,omitempty"`
	First       firstStart      `json:"first"`
	Instance    string          `json:"instance,omitempty"` // ID of its container, if that is not its name
	From        string          `json:"from,omitempty"`     // folder of the bundle of the container
	task.Record                 // of the container
}

// snapshot returns what the next supervisor needs to know of a service.
func (svc *service) snapshot() saved {
	now := saved{
		State: svc.state, Pid: svc.pid, Launched: svc.launched, Started: svc.started, Ended: svc.ended, Delay: svc.delay,
		Entered: svc.since, Restarts: svc.restarts, Failures: svc.history.Failures, Times: svc.history.Restarts,
		LastExit: svc.lastExit, Exits: svc.exits, Reason: svc.reason, First: svc.first, From: svc.from, Instance: svc.instance,
	}
	if svc.task != nil && svc.pid != 0 {
		now.Record = svc.task.Record()
	}
	return now
}

// restore takes over what an earlier supervisor has saved, except the state.
func (svc *service) restore(old saved) {
	svc.restarts, svc.lastExit, svc.reason, svc.first = old.Restarts, old.LastExit, old.Reason, old.First
	svc.exits = old.Exits
	svc.from, svc.instance = old.From, old.Instance
	svc.launched, svc.started, svc.ended, svc.delay = old.Launched, old.Started, old.Ended, old.Delay
	svc.history = machine.History{Failures: old.Failures, Restarts: old.Times}
}

// store keeps in files what outlives the supervisor.
type store struct {
	dir    string // StateDir
	logger *slog.Logger
}

func (st store) file(name string) string { return filepath.Join(st.dir, "state", name) }

func (st store) save(svc *service) {
	text, err := json.Marshal(svc.snapshot())
	if err == nil {
		err = durable.Replace(st.file(svc.name+".json"), text, 0o644)
	}
	if err != nil {
		st.logger.Error("cannot save the state of a service: the next supervisor will not know it", "service", svc.name, "error", err)
	}
}

// remove forgets a service.
func (st store) remove(service string) {
	if err := os.Remove(st.file(service + ".json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		st.logger.Error("cannot remove the state of a service", "service", service, "error", err)
	}
}

// read returns what an earlier supervisor has saved. known is false when it has saved
// nothing, or that cannot be read.
func (st store) read(service string) (old saved, known bool) {
	text, err := os.ReadFile(st.file(service + ".json"))
	if err != nil || json.Unmarshal(text, &old) != nil {
		return saved{}, false
	}
	return old, true
}

// announced reads what this or an earlier supervisor has announced.
func (st store) announced() announced {
	exists := func(stage string) bool {
		_, err := os.Stat(st.file("." + stage))
		return err == nil
	}
	return announced{ready: exists(timeline.Ready), degraded: exists(timeline.Degraded)}
}

// saveAnnounced records that a stage has been announced.
func (st store) saveAnnounced(stage string) {
	if err := durable.Replace(st.file("."+stage), nil, 0o644); err != nil {
		st.logger.Error("cannot record a stage of the boot: it may be announced again", "stage", stage, "error", err)
	}
}

// saveStopDeadline writes the time that a stop of all services may take, for PID 1.
func (st store) saveStopDeadline(d time.Duration) {
	if err := durable.Replace(filepath.Join(st.dir, "stop-deadline"), []byte(d.String()+"\n"), 0o644); err != nil {
		st.logger.Error("cannot write the stop deadline: PID 1 uses its own", "error", err)
	}
}
