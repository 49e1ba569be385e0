package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"keelson/services/control"
	"keelson/services/events"
	"keelson/testvm/nstest"
)

// follower is a client of the events of all supervisors of a system, one after the other.
type follower struct {
	events []events.Event
	gaps   []events.Gap
	ended  chan struct{} // closed when all is read after the end of its context
}

// follow reads events until ctx ends and the supervisor has ended.
func (s *system) follow(ctx context.Context) *follower {
	f := &follower{ended: make(chan struct{})}
	go func() {
		defer close(f.ended)
		for after := (events.ID{}); ; time.Sleep(10 * time.Millisecond) {
			connected := false
			_ = control.Unix(testSocket).Events(context.WithoutCancel(ctx), control.EventQuery{After: after, Follow: true}, func(_ string, kind events.Kind, data string) error {
				connected = true
				if kind == events.KindGap {
					var gap events.Gap
					err := json.Unmarshal([]byte(data), &gap)
					f.gaps = append(f.gaps, gap)
					return err
				}
				var e events.Event
				if data != "" {
					if err := json.Unmarshal([]byte(data), &e); err != nil {
						return err
					}
					f.events, after = append(f.events, e), e.ID
				}
				return nil
			})
			if ctx.Err() != nil && !connected {
				return
			}
		}
	}()
	return f
}

// check returns an error unless the numbers increase by one, without a gap.
func (f *follower) check() error {
	if len(f.gaps) > 0 {
		return errors.New(f.gaps[0].String())
	}
	for i, e := range f.events {
		if i > 0 && e.ID.Seq != f.events[i-1].ID.Seq+1 {
			return errors.New(f.events[i-1].ID.String() + " is followed by " + e.ID.String())
		}
	}
	return nil
}

// The supervisor is killed at any instant: the next ones continue the journal, without a gap and
// without a number that is used twice, and a client misses nothing.
func TestJournalSurvivesKills(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		const kills = 6
		s := newSystem(t, map[string]string{"web": counting}, nil)
		s.until("web", "running", running)
		ctx, cancel := context.WithCancel(t.Context())
		client := s.follow(ctx)
		for i := range kills {
			done := s.order(control.Restart, "web")
			time.Sleep(time.Duration(i) * 30 * time.Millisecond)
			s.killSupervisor()
			<-done
			s.until("web", "running", running)
		}
		s.end()
		cancel()
		<-client.ended
		if err := client.check(); err != nil {
			s.fail("%v", err)
		}
		begun, states := 0, map[string]bool{}
		for _, e := range client.events {
			if e.Kind == events.Supervisor && e.To == "started" {
				begun++
			}
			if e.Kind == events.Service && e.Name == "web" {
				states[e.To] = true
			}
		}
		last := client.events[len(client.events)-1]
		if begun != kills+1 || last.Kind != events.Supervisor || last.To != "ending" {
			s.fail("%d supervisors have started, want %d; the last event is %+v", begun, kills+1, last)
		}
		for _, state := range []string{"waiting", "starting", "running", "stopped"} {
			if !states[state] {
				s.fail("no event of state %s", state)
			}
		}
		journal := events.Open(events.Options{Dir: "/run/keelson"})
		defer journal.Close()
		if journal.Last() != last.ID {
			s.fail("the file ends with %v, the stream with %v", journal.Last(), last.ID)
		}
	})
}
