package supervisor

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"keelson/runtime/prepare"
	"keelson/runtime/timeline"
	"keelson/services/containerd"
	"keelson/services/machine"
)

// saved is what a supervisor that comes after this one needs to know of a
// service: StateDir/state/NAME.json. Durations are times of the boot-time clock.
type saved struct {
	State    machine.State   `json:"state"`
	Pid      int             `json:"pid,omitempty"`
	Launched time.Duration   `json:"launched,omitempty"`
	Started  time.Duration   `json:"started,omitempty"`
	Ended    time.Duration   `json:"ended,omitempty"`
	Delay    time.Duration   `json:"delay,omitempty"` // from Ended to the next start
	Entered  time.Duration   `json:"entered"`         // State
	Restarts int             `json:"restarts"`
	Failures int             `json:"failures"`
	Times    []time.Duration `json:"times,omitempty"` // of restarts, for the limit
	LastExit string          `json:"lastExit,omitempty"`
	Reason   string          `json:"reason,omitempty"`
	First    first           `json:"first"`
	LogAt    [2]int64        `json:"logAt"` // where its output begins in its logs
	NotifyAt string          `json:"notifyAt,omitempty"`
}

func (s *Supervisor) stateFile(name string) string {
	return filepath.Join(s.options.StateDir, "state", name+".json")
}

func (s *Supervisor) save(svc *service) {
	now := saved{
		State: svc.state, Pid: svc.pid, Launched: svc.launched, Started: svc.started, Ended: svc.ended, Delay: svc.delay,
		Entered: svc.since, Restarts: svc.restarts, Failures: svc.history.Failures, Times: svc.history.Restarts,
		LastExit: svc.lastExit, Reason: svc.reason, First: svc.first,
	}
	if svc.run != nil && svc.pid != 0 {
		now.LogAt, now.NotifyAt = svc.run.logAt, svc.run.notifyAt
	}
	text, err := json.Marshal(now)
	if err == nil {
		err = writeFile(s.stateFile(svc.name), text)
	}
	if err != nil {
		s.options.Logger.Error("state is not kept", "service", svc.name, "error", err)
	}
}

// writeFile replaces a file at once: no reader sees half of it.
func writeFile(path string, text []byte) error {
	next := path + ".new"
	if err := os.WriteFile(next, text, 0o644); err != nil {
		return fmt.Errorf("cannot write state: %w", err)
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("cannot write state: %w", err)
	}
	return nil
}

// readState reads what an earlier supervisor left; false when there was none.
func (s *Supervisor) readState(name string) (saved, bool) {
	var old saved
	text, err := os.ReadFile(s.stateFile(name))
	if err != nil || json.Unmarshal(text, &old) != nil {
		return saved{}, false
	}
	return old, true
}

func (svc *service) restore(old saved) {
	svc.restarts, svc.lastExit, svc.reason, svc.first = old.Restarts, old.LastExit, old.Reason, old.First
	svc.launched, svc.started, svc.ended, svc.delay = old.Launched, old.Started, old.Ended, old.Delay
	svc.history = machine.History{Failures: old.Failures, Restarts: old.Times}
}

// takeOver begins: what runs already is followed, what was on its way goes on,
// and everything else is started unless it had been stopped or had ended for
// good.
func (s *Supervisor) takeOver(found map[string]containerd.Task) {
	s.settling = true // once for all
	for _, name := range s.names() {
		svc := s.services[name]
		old, known := s.readState(name)
		if known {
			svc.restore(old)
		}
		task, there := found[name]
		s.resume(svc, old, known, task, there)
	}
	s.settling = false
	s.settle()
	s.announce()
	for _, order := range s.early {
		order()
	}
	s.early = nil
}

// takeOverBlindly is for the way down without containerd: what an earlier
// supervisor has written down, and a shim still holds, is stopped.
func (s *Supervisor) takeOverBlindly() {
	if s.connected {
		return
	}
	s.options.Logger.Warn("containerd does not answer; services are stopped without it")
	found := map[string]containerd.Task{}
	for _, name := range s.names() {
		old, _ := s.readState(name)
		if held := shimOf(old.Pid); held != nil {
			_ = held.Close()
			found[name] = containerd.Task{ID: name, PID: old.Pid, Running: true}
		}
	}
	s.connected = true
	s.takeOver(found)
}

// resume continues the life of one service.
func (s *Supervisor) resume(svc *service, old saved, known bool, task containerd.Task, there bool) {
	lives := old.State == machine.Activating || old.State == machine.Running || old.State == machine.Failing ||
		old.State == machine.Stopping || old.State == machine.Restarting
	switch {
	case there && svc.bundle != nil && (task.Running || lives && old.Pid == task.PID):
		s.adopt(svc, old, task)
	case lives && old.Pid != 0 && old.State != machine.Stopping && old.State != machine.Restarting:
		s.goneMeanwhile(svc, old)
	case known && (old.State.Settled() || old.State == machine.Stopping):
		svc.state, svc.since = old.State, old.Entered
		if old.State == machine.Stopping {
			svc.state = machine.Stopped
			s.save(svc)
		}
	case s.stopping:
		svc.state = machine.Stopped
	case known && old.State == machine.Backoff:
		svc.state, svc.since = machine.Backoff, old.Entered
		s.do(svc, machine.ArmDelay)
	default:
		s.apply(svc, machine.Start)
	}
}

// goneMeanwhile is for a service that ended, and was forgotten by containerd
// too, while nobody looked.
func (s *Supervisor) goneMeanwhile(svc *service, old saved) {
	svc.state, svc.since = old.State, old.Entered
	s.hasEnded(s.begin(svc), exit{at: s.options.Now(), unknown: true})
}

// adopt makes a running task ours.
func (s *Supervisor) adopt(svc *service, old saved, task containerd.Task) {
	svc.pid, svc.since = task.PID, old.Entered
	if old.Pid != task.PID { // It was started and that was not written down any more.
		svc.started, svc.launched, svc.since = s.options.Now(), s.options.Now(), s.options.Now()
	}
	// Everything is mounted; this only says how to take it down.
	release, err := prepare.Prepare(svc.bundle)
	if err != nil {
		s.options.Logger.Error("mounts of a running service", "service", svc.name, "error", err)
	}
	svc.release = release
	s.begin(svc)
	svc.run.others = s.cgroupsOfOthers(svc)
	svc.run.hold(task.PID, old)
	s.options.Logger.Info("service is taken over", "service", svc.name, "pid", task.PID)
	switch old.State {
	case machine.Running:
		svc.state = machine.Running
		s.do(svc, machine.Watch)
	case machine.Failing, machine.Stopping, machine.Restarting:
		svc.state = old.State
		s.do(svc, machine.Signal)
	default: // It was being started, or made ready.
		svc.state = machine.Activating
		s.do(svc, machine.Probe)
	}
	s.work.Go(svc.run.adopt)
	s.save(svc)
}

// announced is what has been said once and for all about this boot.
type announced struct{ ready, degraded bool }

func announcedFile(dir, stage string) string { return filepath.Join(dir, "state", "."+stage) }

func readAnnounced(dir string) announced {
	said := func(stage string) bool {
		_, err := os.Stat(announcedFile(dir, stage))
		return err == nil
	}
	return announced{ready: said(timeline.Ready), degraded: said(timeline.Degraded)}
}
