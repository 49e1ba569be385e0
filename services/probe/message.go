package probe

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// largestStatus is how much of a STATUS is kept, in bytes.
const largestStatus = 256

// message is one datagram of sd_notify(3), as far as it concerns us: lines of
// KEY=VALUE. What is not known, MAINPID and FDSTORE among it, is ignored.
type message struct {
	ready, reloading, stopping bool
	alive, trigger             bool           // WATCHDOG=1, WATCHDOG=trigger
	watchdog                   *time.Duration // 0: none any more
	extend                     time.Duration
	status                     *string
}

func parseMessage(data []byte) message {
	var m message
	for line := range strings.SplitSeq(string(data), "\n") {
		key, value, _ := strings.Cut(line, "=")
		switch key {
		case "READY":
			m.ready = m.ready || value == "1"
		case "RELOADING":
			m.reloading = m.reloading || value == "1"
		case "STOPPING":
			m.stopping = m.stopping || value == "1"
		case "WATCHDOG":
			m.alive = m.alive || value == "1"
			m.trigger = m.trigger || value == "trigger"
		case "WATCHDOG_USEC":
			if d, ok := microseconds(value); ok {
				m.watchdog = &d
			}
		case "EXTEND_TIMEOUT_USEC":
			if d, ok := microseconds(value); ok {
				m.extend = d
			}
		case "STATUS":
			text := printable(value, largestStatus)
			m.status = &text
		}
	}
	return m
}

// microseconds: the largest number means none.
func microseconds(value string) (time.Duration, bool) {
	n, err := strconv.ParseUint(value, 10, 64)
	switch {
	case err != nil:
		return 0, false
	case n == math.MaxUint64:
		return 0, true
	}
	return time.Duration(min(n, math.MaxInt64/1000)) * time.Microsecond, true
}
