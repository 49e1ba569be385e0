package supervisor

import (
	"testing"
	"time"

	"keelson/services/control"
	"keelson/services/events"
	"keelson/testvm/nstest"
)

// The supervisor is killed at any instant: the next ones continue the journal, without a gap and
// without a number that is used twice.
func TestJournalSurvivesKills(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		const kills = 6
		s := newSystem(t, map[string]string{"web": counting}, nil)
		s.until("web", "running", running)
		for i := range kills {
			done := s.order(control.Restart, "web")
			time.Sleep(time.Duration(i) * 30 * time.Millisecond)
			s.killSupervisor()
			<-done
			s.until("web", "running", running)
		}
		s.end()
		journal := events.Open(events.Options{Dir: "/run/keelson"})
		defer journal.Close()
		begun, last := 0, events.Event{}
		states := map[string]bool{}
		for cursor := journal.Subscribe(events.ID{}, events.Filter{}); ; {
			batch := cursor.Read()
			if batch.Last.IsZero() {
				break
			}
			if batch.Gap != nil {
				s.fail("%v", batch.Gap)
			}
			for _, e := range batch.Events {
				if e.Kind == events.Supervisor && e.To == "started" {
					begun++
				}
				if e.Kind == events.Service && e.Name == "web" {
					states[e.To] = true
				}
				last = e
			}
		}
		if begun != kills+1 || last.Kind != events.Supervisor || last.To != "ending" || last.ID != journal.Last() {
			s.fail("%d supervisors have started, want %d; the last event is %+v", begun, kills+1, last)
		}
		for _, state := range []string{"waiting", "starting", "running", "stopped"} {
			if !states[state] {
				s.fail("no event of state %s", state)
			}
		}
	})
}
