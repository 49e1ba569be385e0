package swap

import (
	"fmt"
	"strings"
)

// State of a swap.
type State string

// The states of a swap.
const (
	Accepted   State = "accepted"   // the version is stored and the swap recorded; the old one is current and may run
	Replacing  State = "replacing"  // the old version is stopped, then the new one started
	Beside     State = "beside"     // the new version is started beside the old one, which runs
	Probation  State = "probation"  // the new version is ready and must stay so; its root is verified meanwhile
	Verifying  State = "verifying"  // the new version has passed the probation; its root is still being verified
	Switching  State = "switching"  // the new version has passed the probation beside the old one, which is stopped
	Committing State = "committing" // the new version is being made current
	Discarding State = "discarding" // the new version failed beside the old one; it is stopped
	Restoring  State = "restoring"  // the new version failed; the old one is started again
	Aborting   State = "aborting"   // the record of the swap is being removed
	Committed  State = "committed"  // the new version is current
	Restored   State = "restored"   // the old version is current
)

// States returns all states.
func States() []State {
	return []State{Accepted, Replacing, Beside, Probation, Verifying, Switching, Committing, Discarding, Restoring, Aborting, Committed, Restored}
}

// Ended reports whether nothing follows a state.
func (s State) Ended() bool { return s == Committed || s == Restored }

// Event is something that happens to a swap.
type Event string

// The events of a swap.
const (
	Begin      Event = "begin"      // order
	Up         Event = "up"         // the version that is to run is ready, or has exited as the old one did
	Down       Event = "down"       // that version failed, ended, or is unhealthy
	Gone       Event = "gone"       // the service has stopped: by the swap that removes it, else by an order
	Late       Event = "late"       // the time to become ready is over
	Passed     Event = "passed"     // the probation is over
	Verified   Event = "verified"   // the root has the digest that the manifest names, or needs no verification
	Damaged    Event = "damaged"    // it has another one
	Unverified Event = "unverified" // its digest could not be computed
	Alone      Event = "alone"      // of two versions that ran, only one has a container
	Recorded   Event = "recorded"   // the disk has the result
	Unrecorded Event = "unrecorded" // the disk could not take it
)

// Events returns all events.
func Events() []Event {
	return []Event{Begin, Up, Down, Gone, Late, Passed, Verified, Damaged, Unverified, Alone, Recorded, Unrecorded}
}

// Action is something that the supervisor does for a swap.
type Action string

// The actions of the supervisor.
const (
	Replace       Action = "replace"        // stop the old version, start the new one
	StartBeside   Action = "start-beside"   // start the new version beside the old one
	StopOld       Action = "stop-old"       // stop the old version, then send Alone
	Promote       Action = "promote"        // make the new version the service
	Discard       Action = "discard"        // stop the new version, then send Alone
	Stop          Action = "stop"           // stop the service
	Start         Action = "start"          // start the service again if it ran
	ArmLate       Action = "arm-late"       // send Late when the time to become ready is over
	ArmProbation  Action = "arm-probation"  // send Passed when the probation is over
	Verify        Action = "verify"         // begin to verify the root if that was deferred; send Damaged or Unverified, or remember that it is right
	AwaitVerified Action = "await-verified" // send Verified when the root was verified
	Disarm        Action = "disarm"         // send none of these
	Reject        Action = "reject"         // the version is to be remembered as one that failed
	Restore       Action = "restore"        // stop the new version, start the old one if it ran
	Commit        Action = "commit"         // make the new version current, then send Recorded or Unrecorded
	Abort         Action = "abort"          // remove the record of the swap, then send Recorded or Unrecorded
)

// Next is a cell of the table.
type Next struct {
	State   State
	Actions []Action
}

// table has the cells in which something happens to the swap of a version. In Restoring,
// the old version may fail as the new one did: it is current all the same. If the record
// of a swap stays on the disk, the next supervisor undoes the swap again.
var table = map[State]map[Event]Next{
	Accepted: {
		Begin: {Replacing, []Action{ArmLate, Replace}},
	},
	Replacing: {
		Up:   {Probation, []Action{ArmProbation, Verify}},
		Down: {Restoring, []Action{Disarm, Reject, Restore}},
		Gone: {Restoring, []Action{Disarm, Restore}},
		Late: {Restoring, []Action{Reject, Restore}},
	},
	Probation: {
		Down:       {Restoring, []Action{Disarm, Reject, Restore}},
		Gone:       {Restoring, []Action{Disarm, Restore}},
		Passed:     {Verifying, []Action{AwaitVerified}},
		Damaged:    {Restoring, []Action{Disarm, Reject, Restore}},
		Unverified: {Restoring, []Action{Disarm, Restore}},
	},
	Verifying: {
		Down:       {Restoring, []Action{Disarm, Reject, Restore}},
		Gone:       {Restoring, []Action{Disarm, Restore}},
		Verified:   {Committing, []Action{Commit}},
		Damaged:    {Restoring, []Action{Disarm, Reject, Restore}},
		Unverified: {Restoring, []Action{Disarm, Restore}},
	},
	Committing: {
		Recorded:   {Committed, nil},
		Unrecorded: {Restoring, []Action{Restore}},
	},
	Restoring: {
		Up:   {Aborting, []Action{Abort}},
		Down: {Aborting, []Action{Abort}},
		Gone: {Aborting, []Action{Abort}},
	},
	Aborting: {
		Recorded:   {Restored, nil},
		Unrecorded: {Restored, nil},
	},
}

// overlap has the cells in which something happens to the swap of a version that is started
// beside the old one. Until Switching the old version is not touched.
var overlap = map[State]map[Event]Next{
	Accepted: {
		Begin: {Beside, []Action{ArmLate, StartBeside}},
	},
	Beside: {
		Up:   {Probation, []Action{ArmProbation, Verify}},
		Down: {Discarding, []Action{Disarm, Reject, Discard}},
		Gone: {Discarding, []Action{Disarm, Discard}},
		Late: {Discarding, []Action{Reject, Discard}},
	},
	Probation: {
		Down:       {Discarding, []Action{Disarm, Reject, Discard}},
		Gone:       {Discarding, []Action{Disarm, Discard}},
		Passed:     {Verifying, []Action{AwaitVerified}},
		Damaged:    {Discarding, []Action{Disarm, Reject, Discard}},
		Unverified: {Discarding, []Action{Disarm, Discard}},
	},
	Verifying: {
		Down:       {Discarding, []Action{Disarm, Reject, Discard}},
		Gone:       {Discarding, []Action{Disarm, Discard}},
		Verified:   {Switching, []Action{StopOld}},
		Damaged:    {Discarding, []Action{Disarm, Reject, Discard}},
		Unverified: {Discarding, []Action{Disarm, Discard}},
	},
	Switching: {
		Alone: {Committing, []Action{Promote, Commit}},
		Down:  {Discarding, []Action{Reject, Discard, Start}},
		Gone:  {Discarding, []Action{Discard}},
	},
	Committing: table[Committing],
	Discarding: {
		Alone: {Aborting, []Action{Abort}},
	},
	Restoring: table[Restoring],
	Aborting:  table[Aborting],
}

// removal has the cells in which something happens to the removal of a service.
var removal = map[State]map[Event]Next{
	Accepted: {
		Begin: {Replacing, []Action{Stop}},
	},
	Replacing: {
		Gone: {Committing, []Action{Commit}},
		Up:   {Aborting, []Action{Abort}}, // A later order has started it again.
		Down: {Aborting, []Action{Abort}},
	},
	Committing: {
		Recorded:   {Committed, nil},
		Unrecorded: {Restoring, []Action{Start}},
	},
	Restoring: { // Also if the supervisor died while the service was being removed.
		Up:   {Aborting, []Action{Abort}},
		Down: {Aborting, []Action{Abort}},
		Gone: {Aborting, []Action{Abort}},
	},
	Aborting: {
		Recorded:   {Restored, nil},
		Unrecorded: {Restored, nil},
	},
}

// On returns what follows event e in state s of a swap.
func On(s State, e Event) Next { return lookUp(table, s, e) }

// OnOverlap returns what follows event e in state s of a swap in which both versions run for
// a while.
func OnOverlap(s State, e Event) Next { return lookUp(overlap, s, e) }

// OnRemoval returns what follows event e in state s of the removal of a service.
func OnRemoval(s State, e Event) Next { return lookUp(removal, s, e) }

func lookUp(table map[State]map[Event]Next, s State, e Event) Next {
	if next, ok := table[s][e]; ok {
		return next
	}
	return Next{State: s}
}

// Diagram returns the table of a swap as a Mermaid state diagram, for the documentation.
func Diagram() string { return diagram(table) }

// OverlapDiagram is Diagram for swaps in which both versions run for a while.
func OverlapDiagram() string { return diagram(overlap) }

func diagram(table map[State]map[Event]Next) string {
	var b strings.Builder
	b.WriteString("stateDiagram-v2\n    [*] --> accepted\n")
	for _, s := range States() {
		for _, e := range Events() {
			next, ok := table[s][e]
			if !ok {
				continue
			}
			label := string(e)
			for i, a := range next.Actions {
				label += []string{" / ", ", "}[min(i, 1)] + string(a)
			}
			fmt.Fprintf(&b, "    %s --> %s: %s\n", s, next.State, label)
		}
	}
	b.WriteString("    committed --> [*]\n    restored --> [*]\n")
	return b.String()
}
