package bundle

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/docker/go-units"

	"keelson/runtime/condition"
	"keelson/runtime/imageconfig"
	"keelson/runtime/signals"
)

// These functions parse the value of a setting and store it. They return "", or why the value
// is bad.

func oneOf(to *string, value string, allowed ...string) string {
	if !slices.Contains(allowed, value) {
		return "want one of " + strings.Join(allowed, ", ")
	}
	*to = value
	return ""
}

func boolean(to *bool, value string) string {
	if value != "true" && value != "false" {
		return "want true or false"
	}
	*to = value == "true"
	return ""
}

// Durations are 0, which mostly means none, or within these bounds. A shorter duration
// would be a mistake in the unit: a timeout of 10us always expires.
const (
	shortest = time.Millisecond
	longest  = 24 * time.Hour
)

func duration(to *time.Duration, value string) string {
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 || d > longest || d != 0 && d < shortest {
		return "want 0s or a duration such as 500ms, 10s or 2m, from 1ms to 24h"
	}
	*to = d
	return ""
}

// shortestHealth is the shortest interval and timeout of a health check. Shorter ones
// would keep a processor busy.
const shortestHealth = 100 * time.Millisecond

func atLeast(least time.Duration, to *time.Duration, value string) string {
	var d time.Duration
	if duration(&d, value) != "" || d < least {
		return fmt.Sprintf("want a duration from %v to 24h", least)
	}
	*to = d
	return ""
}

func positive(to *int, value string) string {
	var n int
	if count(&n, value) != "" || n == 0 {
		return "want a whole number from 1 to 1000000"
	}
	*to = n
	return ""
}

func count(to *int, value string) string {
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 || n > 1_000_000 {
		return "want a whole number from 0 to 1000000"
	}
	*to = n
	return ""
}

func limit(to *Limit, value string) string {
	number, per, ok := strings.Cut(value, "/")
	var l Limit
	if !ok || count(&l.N, number) != "" || duration(&l.Per, per) != "" || l.N == 0 || l.Per == 0 {
		return "want NUMBER/DURATION such as 5/1m"
	}
	*to = l
	return ""
}

// signal sets a signal by name or number.
func signal(to *syscall.Signal, value string) string {
	found, ok := signals.Parse(value)
	if !ok {
		return "want a signal such as SIGTERM, INT, 15 or SIGRTMIN+3"
	}
	*to = found
	return ""
}

// Bounds of a log's size.
const (
	smallestLog = 64 << 10
	largestLog  = 1 << 40
)

func size(to *int64, value string) string {
	n, err := units.RAMInBytes(value)
	if err != nil || n < smallestLog || n > largestLog {
		return "want a size such as 256KiB or 1MiB, from 64KiB to 1TiB"
	}
	*to = n
	return ""
}

// dependencies reads names of services and conditions.
func dependencies(to *[]string, value string) string {
	return items(to, value, func(item string) string {
		if !condition.Is(item) {
			return serviceName(item)
		}
		if _, err := condition.Parse(item); err != nil {
			return err.Error()
		}
		return ""
	})
}

func list(to *[]string, value string) string { return items(to, value, serviceName) }

func serviceName(name string) string {
	if name == "" || strings.ContainsAny(name, "/ \t\n") {
		return "want names of services, separated by commas"
	}
	return ""
}

// items reads a list separated by commas. problem returns why an item is bad, or "".
func items(to *[]string, value string, problem func(string) string) string {
	var names []string
	for name := range strings.SplitSeq(value, ",") {
		name = strings.TrimSpace(name)
		if why := problem(name); why != "" {
			return why
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	*to = names
	return ""
}

func keep(to *[]string, value string) string {
	var names []string
	if list(&names, value) != "" || slices.ContainsFunc(names, func(n string) bool { return !slices.Contains(imageconfig.Names(), n) }) {
		return "want some of " + strings.Join(imageconfig.Names(), ", ") + ", separated by commas"
	}
	*to = names
	return ""
}
