package supervisor

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"keelson/runtime/backoff"
	"keelson/runtime/timeline"
	"keelson/services/events"
)

// announcer announces how the boot ended: ready, degraded, or one after the other.
type announcer struct {
	events func(timeline.Event)
	now    func() time.Duration
	store  store
	done   announced
}

// announced says which stages of the boot have been announced.
type announced struct{ ready, degraded bool }

// update announces that all services run, or that all have been started once and some
// have failed.
func (a *announcer) update(all *services) {
	var running, awaiting int
	var failed []string
	for _, name := range all.names {
		switch all.byName[name].first {
		case firstPending:
			if !all.byName[name].awaiting {
				return
			}
			awaiting++ // A device that is never plugged in does not keep the boot from ending.
		case firstUp:
			running++
		case firstDown:
			failed = append(failed, name)
		}
	}
	if len(failed) == 0 {
		text := fmt.Sprintf("%d services running", running)
		if awaiting > 0 {
			text += fmt.Sprintf(", %d waiting for a condition", awaiting)
		}
		a.ready(text)
		return
	}
	a.degraded(fmt.Sprintf("%d of %d services running; failed: %s", running, len(all.names), strings.Join(failed, ", ")))
}

func (a *announcer) ready(result string) {
	if !a.done.ready {
		a.done.ready = true
		a.stage(timeline.Ready, result)
	}
}

// degraded comes before ready, or instead of it.
func (a *announcer) degraded(result string) {
	if !a.done.ready && !a.done.degraded {
		a.done.degraded = true
		a.stage(timeline.Degraded, result)
	}
}

func (a *announcer) stage(stage, result string) {
	a.events(timeline.Event{At: a.now(), Stage: stage, Result: result})
	a.store.saveAnnounced(stage)
}

// announceStage shows people and programs how the boot ended.
func (s *Supervisor) announceStage(e timeline.Event) {
	s.options.Events(e)
	s.recorder.emit(events.Event{Kind: events.System, To: e.Stage, Text: e.Result})
	if !s.warming { // Ready may follow degraded.
		s.warming = true
		go s.warmUp() // Nothing waits for it: how long the kernel takes to load modules is not known.
	}
}

// warmAfter is how long after the boot the modules for swaps are loaded. A machine that does not run for
// longer is not swapped either.
const warmAfter = time.Minute

// warmUp loads what the first swap would have to load while it is waited for, on machines whose versions
// last: others have no reason to expect one.
func (s *Supervisor) warmUp() {
	if backoff.Wait(s.ctx, warmAfter) && s.versions.Lasts() {
		s.options.WarmUp()
	}
}

// announce announces how the boot ended, once that is known.
func (s *Supervisor) announce() {
	if !s.stopping && (s.connected || len(s.services.names) == 0) {
		s.announcer.update(&s.services)
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
		if s.connected || s.stopping {
			return
		}
		s.announcer.degraded(fmt.Sprintf("containerd does not answer after %v; %d services wait for it; log: %s",
			containerdTime, len(s.services.names), filepath.Join(s.options.LogDir, "containerd.log")))
	})
}
