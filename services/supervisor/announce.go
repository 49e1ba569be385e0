package supervisor

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"keelson/runtime/backoff"
	"keelson/runtime/timeline"
)

// announce announces once that all services run, or that all have been started once and
// some have failed.
func (s *Supervisor) announce() {
	if s.stopping || !s.connected && len(s.services.names) > 0 {
		return
	}
	var running int
	var failed []string
	for _, name := range s.services.names {
		switch s.services.byName[name].first {
		case firstPending:
			return
		case firstUp:
			running++
		case firstDown:
			failed = append(failed, name)
		}
	}
	switch {
	case s.announced.ready:
	case len(failed) == 0:
		s.announced.ready = true
		s.announceStage(timeline.Ready, fmt.Sprintf("%d services running", running))
	case !s.announced.degraded:
		s.announced.degraded = true
		s.announceStage(timeline.Degraded, fmt.Sprintf("%d of %d services running; failed: %s",
			running, len(s.services.names), strings.Join(failed, ", ")))
	}
}

// containerdTime is how long the boot waits for containerd to answer before it is announced
// as degraded.
const containerdTime = time.Minute

// watchFirstAnswer announces a boot without containerd as degraded. Services that
// start later are announced as usual.
func (s *Supervisor) watchFirstAnswer() {
	if !backoff.Wait(s.ctx, containerdTime) {
		return
	}
	s.send(func() {
		if s.connected || s.stopping || s.announced != (announced{}) {
			return
		}
		s.announced.degraded = true
		s.announceStage(timeline.Degraded, fmt.Sprintf("containerd does not answer after %v; %d services wait for it; log: %s",
			containerdTime, len(s.services.names), filepath.Join(s.options.LogDir, "containerd.log")))
	})
}

func (s *Supervisor) announceStage(stage, result string) {
	s.options.Events(timeline.Event{At: s.options.Now(), Stage: stage, Result: result})
	s.store.saveAnnounced(stage)
}
