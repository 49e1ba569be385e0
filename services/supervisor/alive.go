package supervisor

import (
	"fmt"
	"time"
)

// containerdLimit is how long containerd may be out of reach before the supervisor says
// that it does not work. It is started again, and killed when it hangs, in much less.
const containerdLimit = 5 * time.Minute

// Alive returns what is wrong with the supervisor or containerd, or nil. It does not
// return while the goroutine that owns the services is stuck.
func (s *Supervisor) Alive() error {
	if err := s.ask(func() error { return nil }); err != nil {
		return err
	}
	if down := s.connection.Down(); down > containerdLimit {
		return fmt.Errorf("containerd does not answer for %v", down.Round(time.Second))
	}
	return nil
}
