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
// service: StateDir/state/NAME.json.
type saved struct {
	State    machine.State `json:"state"`
	Pid      int           `json:"pid,omitempty"`
	Started  time.Duration `json:"started,omitempty"` // boot-time clock
	Since    time.Time     `json:"since"`
	Restarts int           `json:"restarts"`
	Failures int           `json:"failures"`
	LastExit string        `json:"lastExit,omitempty"`
	Reason   string        `json:"reason,omitempty"`
	First    first         `json:"first"`
}

func (s *Supervisor) stateFile(name string) string {
	return filepath.Join(s.options.StateDir, "state", name+".json")
}

func (s *Supervisor) save(svc *service) {
	text, err := json.Marshal(saved{
		State: svc.state, Pid: svc.pid, Started: svc.started, Since: svc.since, Restarts: svc.restarts,
		Failures: svc.history.Failures, LastExit: svc.lastExit, Reason: svc.reason, First: svc.first,
	})
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

// restore reads what an earlier supervisor left; false when there was none.
func (s *Supervisor) restore(svc *service) (saved, bool) {
	var old saved
	text, err := os.ReadFile(s.stateFile(svc.name))
	if err != nil || json.Unmarshal(text, &old) != nil {
		return saved{}, false
	}
	svc.restarts, svc.lastExit, svc.reason, svc.first = old.Restarts, old.LastExit, old.Reason, old.First
	svc.history.Failures = old.Failures
	return old, true
}

// takeOver begins: services that run already are followed, others are
// started unless they had been stopped or had ended for good.
func (s *Supervisor) takeOver(found map[string]containerd.Task) {
	for _, name := range s.names() {
		svc := s.services[name]
		if s.stopping && found[name].PID == 0 {
			continue
		}
		old, known := s.restore(svc)
		task, there := found[name]
		switch {
		case there && svc.bundle != nil && (task.Running || old.State == machine.Running):
			s.adopt(svc, old, task)
		case known && old.State.Settled() && !there:
			svc.state, svc.since = old.State, old.Since
		case svc.state.Settled():
			s.apply(svc, machine.Start)
		default: // ordered meanwhile
			s.do(svc, machine.Check)
		}
	}
	s.announce()
	s.wakeWaiters()
}

// adopt makes a running task ours.
func (s *Supervisor) adopt(svc *service, old saved, task containerd.Task) {
	svc.pid, svc.started, svc.since, svc.first = task.PID, old.Started, old.Since, up
	if svc.started == 0 {
		svc.started, svc.since = s.options.Now(), time.Now()
	}
	svc.state = machine.Running
	// Everything is mounted; this only says how to take it down.
	release, err := prepare.Prepare(svc.bundle)
	if err != nil {
		s.options.Logger.Error("mounts of a running service", "service", svc.name, "error", err)
	}
	svc.release = release
	s.begin(svc)
	svc.run.oom = newOOMCounter(task.PID)
	s.work.Go(svc.run.adopt)
	s.save(svc)
	s.options.Logger.Info("service is taken over", "service", svc.name, "pid", task.PID)
	if old.State == machine.Stopping || s.stopping {
		s.apply(svc, machine.Stop)
	}
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
