package machine

import (
	"time"

	"keelson/runtime/backoff"
	"keelson/runtime/bundle"
)

// steady is how long a service must have run for its back-off to begin anew.
const steady = 10 * time.Second

// History is what the policy remembers of a service.
type History struct {
	Failures int             // starts in a row that did not last
	Restarts []time.Duration // when it was restarted, within the limit's time
}

// AfterExit decides what the end of a service means: Retry, Done or Fail.
// up is how long it ran, now the time on the clock that History uses.
func AfterExit(s bundle.Settings, h *History, success bool, up, now time.Duration) Event {
	if up >= steady {
		h.Failures = 0
	}
	switch {
	case s.Restart == bundle.RestartAlways:
		return h.again(s.Limit, now)
	case success:
		return Done
	}
	return AfterStartError(s, h, now)
}

// AfterStartError decides what a start that failed means: Retry or Fail.
func AfterStartError(s bundle.Settings, h *History, now time.Duration) Event {
	if s.Restart == bundle.RestartNever {
		return Fail
	}
	return h.again(s.Limit, now)
}

// again counts one more restart, unless the limit is reached.
func (h *History) again(limit bundle.Limit, now time.Duration) Event {
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

// BackoffDelay is the wait before the next start after failures in a row: the
// setting's delay, doubled each time up to its greatest. random, from 0 to 1,
// takes up to half of it off, so that services that failed together do not
// start together.
func BackoffDelay(s bundle.Settings, failures int, random float64) time.Duration {
	return backoff.Jitter(backoff.Delay(failures, s.Delay, max(s.MaxDelay, s.Delay)), random)
}
