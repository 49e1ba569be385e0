package probe

import (
	"fmt"
	"time"

	"golang.org/x/time/rate"
)

// Limits of what one service reports to the journal of events, whose length is limited: a
// service must not push out what happened to others.
const (
	reportBurst = 20
	reportPause = 5 * time.Second // for one more
)

// reports lets a limited number of reports pass.
type reports struct {
	limiter *rate.Limiter
	dropped int
}

func newReports() *reports {
	return &reports{limiter: rate.NewLimiter(rate.Every(reportPause), reportBurst)}
}

// pass returns a report with the number of those before it that were dropped, or false if it
// is dropped too.
func (r *reports) pass(text string, now time.Time) (string, bool) {
	if !r.limiter.AllowN(now, 1) {
		r.dropped++
		return "", false
	}
	if r.dropped > 0 {
		text = fmt.Sprintf("%s (reports dropped before: %d)", text, r.dropped)
		r.dropped = 0
	}
	return text, true
}
