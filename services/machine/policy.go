package machine

import (
	"time"

	"keelson/runtime/backoff"
	"keelson/runtime/bundle"
)

// steadyTime is how long a service must have run for its back-off to start over.
const steadyTime = 10 * time.Second

// History is what the policy remembers about a service.
type History struct {
	Failures int             // starts in a row after which the service did not run for steadyTime
	Restarts []time.Duration // times of restarts within the period of the limit
}

// AfterExit returns what the end of a service means: Retry, Done or Fail. up is how long
// it ran, now the time on the clock of History. The history is updated.
func AfterExit(s bundle.Settings, h *History, success bool, up, now time.Duration) Event {
	if up >= steadyTime {
		h.Failures = 0
	}
	switch {
	case s.Restart == bundle.RestartAlways:
		return h.countRestart(s.Limit, now)
	case success:
		return Done
	}
	return AfterStartError(s, h, now)
}

// AfterStartError returns what a failed start means: Retry or Fail. The history is updated.
func AfterStartError(s bundle.Settings, h *History, now time.Duration) Event {
	if s.Restart == bundle.RestartNever {
		return Fail
	}
	return h.countRestart(s.Limit, now)
}

// countRestart counts a restart, unless the limit is reached.
func (h *History) countRestart(limit bundle.Limit, now time.Duration) Event {
	if limit.N > 0 {
		recent := h.Restarts[:0]
		for _, at := range h.Restarts {
			if now-at < limit.Per {
				recent = append(recent, at)
			}
		}
		h.Restarts = recent
		if len(recent) >= limit.N {
			return Fail
		}
		h.Restarts = append(h.Restarts, now)
	}
	h.Failures++
	return Retry
}

// BackoffDelay returns the delay before the next start after this many failures in a row:
// the delay of the settings, doubled each time up to their largest. random, from 0 to 1,
// takes up to half of it off, so that services that failed together do not start together.
func BackoffDelay(s bundle.Settings, failures int, random float64) time.Duration {
	return backoff.Jitter(backoff.Delay(failures, s.Delay, max(s.MaxDelay, s.Delay)), random)
}
