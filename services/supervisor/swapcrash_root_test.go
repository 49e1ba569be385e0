package supervisor

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"keelson/services/control"
	"keelson/services/swap"
	"keelson/services/versions"
	"keelson/testvm/nstest"
	"keelson/testvm/tier"
)

// swapFlow is a course of a swap.
type swapFlow struct {
	name, verb, service, kind string
	states                    []swap.State
}

var swapFlows = []swapFlow{
	{"swap", control.Swap, "web", "good", []swap.State{swap.Replacing, swap.Probation, swap.Verifying, swap.Committing, swap.Committed}},
	{"swap that is being verified", control.Swap, "web", "good-large", []swap.State{swap.Verifying}},
	{"swap for a damaged one", control.Swap, "web", "good-damaged", []swap.State{swap.Restoring, swap.Restored}},
	{"swap that fails", control.Swap, "web", "exits", []swap.State{swap.Replacing, swap.Restoring, swap.Aborting, swap.Restored}},
	{"swap for one that ends", control.Swap, "web", "ends", []swap.State{swap.Restoring}},
	{"rollback", control.Rollback, "web", "", []swap.State{swap.Replacing, swap.Probation, swap.Committing, swap.Committed}},
	{"removal", control.Remove, "web", "", []swap.State{swap.Replacing, swap.Committing, swap.Committed}},
	{"addition", control.Swap, "added", "good", []swap.State{swap.Replacing, swap.Probation, swap.Committing, swap.Committed}},
	{"addition that fails", control.Swap, "added", "exits", []swap.State{swap.Replacing, swap.Restoring, swap.Aborting, swap.Restored}},
}

// The supervisor, or supervisor and containerd, are killed before each state of a swap; both
// kinds of kills before every state only in `make test-all`. Then the old version runs, or
// the new one if the swap was committed, once, and nothing of the other.
func TestSwapKilled(t *testing.T) {
	nstest.Run(t, func(t *testing.T) { testSwapKilled(t, newSwapping(t), swapFlows) })
}

var overlapFlows = []swapFlow{
	{"overlap", control.Swap, "web", "good", []swap.State{swap.Beside, swap.Probation, swap.Verifying, swap.Switching, swap.Committing, swap.Committed}},
	{"overlap that is being verified", control.Swap, "web", "good-large", []swap.State{swap.Verifying}},
	{"overlap for a damaged one", control.Swap, "web", "good-damaged", []swap.State{swap.Discarding, swap.Restored}},
	{"overlap that fails", control.Swap, "web", "exits", []swap.State{swap.Beside, swap.Discarding, swap.Aborting, swap.Restored}},
	{"overlap for one that ends", control.Swap, "web", "ends", []swap.State{swap.Discarding}},
	{"rollback", control.Rollback, "web", "", []swap.State{swap.Beside, swap.Switching, swap.Committing, swap.Committed}},
}

// The same for swaps in which both versions run for a while.
func TestOverlapKilled(t *testing.T) {
	nstest.Run(t, func(t *testing.T) { testSwapKilled(t, newSwapping(t, "keelson.swap", "overlap"), overlapFlows) })
}

func testSwapKilled(t *testing.T, s *swapping, flows []swapFlow) {
	t.Helper()
	other := s.until("other", "running", running)
	kills := []func(){s.killSupervisor, func() { s.killContainerd(); s.killSupervisor() }}
	step := 0
	for _, flow := range flows {
		for _, state := range flow.states {
			step++
			for i, killed := range []string{"supervisor", "both"} {
				if (step+i)%2 == 0 || os.Getenv(tier.Everything) != "" {
					s.killedBefore(fmt.Sprintf("%s, %s killed before %s", flow.name, killed, state), flow, state, kills[i])
				}
			}
		}
	}
	if now := s.until("other", "running", running); now.PID != other.PID {
		t.Errorf("the other service was %+v and is %+v", other, now)
	}
	s.end()
	if mounted, _ := os.ReadFile("/proc/self/mounts"); strings.Contains(string(mounted), versions.Dir) {
		t.Errorf("mounts are left:\n%s", mounted)
	}
}

// killedBefore begins a swap, kills before it enters a state, and restores what was removed
// or added.
func (s *swapping) killedBefore(step string, flow swapFlow, state swap.State, kill func()) {
	s.t.Helper()
	before := s.read(flow.service)
	want, text := before.Current, ""
	after := map[string]versions.Target{control.Rollback: before.Previous, control.Remove: versions.Removed}[flow.verb]
	if flow.verb == control.Swap {
		text, after = s.artifact(flow.service, flow.kind)
	}
	if state == swap.Committed {
		want = after
	}
	s.write(blockFile, string(state))
	done := s.request(flow.verb, flow.service, text)
	s.untilBlocked(step, done)
	kill()
	if err := <-done; err == nil {
		s.fail("%s: the swap was reported as done", step)
	}
	s.until("other", "known", func(v control.Service) bool { return running(v) && !strings.HasPrefix(v.Status, "as last known") })
	s.settles(step, flow.service, want)
	switch {
	case flow.verb == control.Remove && want == versions.Removed:
		s.undo(step, control.Rollback, flow.service, before.Current)
	case flow.service == "added" && want.IsVersion():
		s.undo(step, control.Remove, flow.service, versions.Removed)
	}
}

// untilBlocked waits until the supervisor blocks.
func (s *swapping) untilBlocked(step string, done chan error) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); os.Remove(blockedFile) != nil; time.Sleep(time.Millisecond) {
		select {
		case err := <-done:
			s.fail("%s: the swap has ended: %v", step, err)
		default:
		}
		if time.Now().After(deadline) {
			s.fail("%s: the swap does not get there", step)
		}
	}
}

// undo orders a swap that must succeed.
func (s *swapping) undo(step, verb, name string, want versions.Target) {
	s.t.Helper()
	if err := <-s.request(verb, name, ""); err != nil {
		s.fail("%s, then %s: %v", step, verb, err)
	}
	s.settles(step+", then "+verb, name, want)
}
