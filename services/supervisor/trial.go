package supervisor

import (
	"context"
	"fmt"
	"time"

	"keelson/services/candidate"
	"keelson/services/control"
	"keelson/services/machine"
	"keelson/services/swap"
	"keelson/services/versions"
)

// readyTime is how long a new version may take to become ready, unless it has
// keelson.ready.timeout.
const readyTime = time.Minute

// trial is a swap of a service that has not ended. Package swap says what follows what.
type trial struct {
	candidate.Candidate
	state     swap.State
	by        string
	overlap   bool     // the new version starts beside the old one
	instance  string   // ID of its container then
	beside    *service // the new version while both have containers
	probation time.Duration

	unverify context.CancelFunc // ends the verification of RootDigest; nil: none has begun
	damaged  bool               // the image has another digest

	oldDir      string   // bundle of the old version; empty: there is none
	ran         bool     // the old version was to run
	stopped     []string // services that a removal stops, because they require this one
	exited      bool     // the old version had exited successfully
	stopOrdered bool     // an order stops the service
	leaving     bool     // what happens concerns the version that is being stopped
	reason      string   // why the swap fails
	rejected    bool     // the new version is refused in future
	begun       time.Duration
	timer       *time.Timer
	progress    func(string)            // must not block
	answer      chan<- control.Response // with room for one; nil: nobody waits
}

// from names the old version for people.
func (t *trial) from() string {
	if t.oldDir == "" {
		return "no version"
	}
	return t.Old.String()
}

// to names the new version for people.
func (t *trial) to() string {
	if t.Reference == "" {
		return t.Next.String()
	}
	return fmt.Sprintf("%s (%s)", t.Next, t.Reference)
}

// tell shows the client how far the swap is.
func (t *trial) tell(format string, args ...any) {
	if t.progress != nil {
		t.progress(fmt.Sprintf(format, args...))
	}
}

// tellNotes shows the notes to the client.
func (t *trial) tellNotes() {
	for _, note := range t.Notes {
		t.tell("%s", note)
	}
}

// drops reports whether the service has stopped, or is to stop, and is forgotten at the end
// of the swap.
func (t *trial) drops() bool {
	if t == nil {
		return false
	}
	switch t.state {
	case swap.Committing, swap.Committed:
		return t.Next == versions.Removed
	case swap.Restoring, swap.Aborting, swap.Restored:
		return t.oldDir == ""
	}
	return false
}

// lateness is how long the new version may take to become ready, from the begin of the
// swap.
func (t *trial) lateness(svc *service) time.Duration {
	limit := readyTime
	if t.Bundle != nil && t.Bundle.Settings.ReadyTimeout > 0 {
		limit = t.Bundle.Settings.ReadyTimeout
	}
	return svc.settings().StopTimeout + limit
}

// isUp reports whether the new version is ready, or has exited as the old one did.
func (t *trial) isUp(svc *service) bool {
	state := t.tried(svc).state
	return state == machine.Running || state == machine.Exited
}

// disarm ends the timer and the verification.
func (t *trial) disarm() {
	t.stopTimer()
	if t.unverify != nil {
		t.unverify()
	}
}

func (t *trial) stopTimer() {
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
}
