package reader

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// layouts are of times in the local time zone; clock times are those of today.
var layouts = []string{"2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"}
var clockLayouts = []string{"15:04:05", "15:04"}

// ParseTime reads a time as people write it, in the location of now.
func ParseTime(text string, now time.Time) (time.Time, error) {
	text = strings.TrimSpace(text)
	day := func(ago int) time.Time {
		return time.Date(now.Year(), now.Month(), now.Day()-ago, 0, 0, 0, 0, now.Location())
	}
	switch text {
	case "now":
		return now, nil
	case "today":
		return day(0), nil
	case "yesterday":
		return day(1), nil
	}
	if t, ok := parseRelative(text, now); ok {
		return t, nil
	}
	if t, err := time.Parse(time.RFC3339, strings.Replace(text, " ", "T", 1)); err == nil {
		return t, nil
	}
	for _, layout := range layouts {
		if t, err := time.ParseInLocation(layout, strings.Replace(text, "T", " ", 1), now.Location()); err == nil {
			return t, nil
		}
	}
	for _, layout := range clockLayouts {
		if t, err := time.Parse(layout, text); err == nil {
			return time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), now.Location()), nil
		}
	}
	return time.Time{}, fmt.Errorf("cannot read time %q: want 2006-01-02T15:04:05Z, 2006-01-02 [15:04[:05]], 15:04[:05], -5m, 5m ago, now, today, yesterday or @SECONDS", text)
}

// mostSeconds is the year 9999.
const mostSeconds = 253402300799

// parseRelative reads -5m, 5m ago and @SECONDS.
func parseRelative(text string, now time.Time) (time.Time, bool) {
	if seconds, ok := strings.CutPrefix(text, "@"); ok {
		n, err := strconv.ParseFloat(seconds, 64)
		if err != nil || !(n >= 0 && n <= mostSeconds) {
			return time.Time{}, false
		}
		return time.UnixMicro(int64(n * 1e6)).In(now.Location()), true
	}
	ago, ok := strings.CutPrefix(text, "-")
	if !ok {
		ago, ok = strings.CutSuffix(text, " ago")
	}
	if !ok {
		return time.Time{}, false
	}
	d, err := parseSpan(strings.TrimSpace(ago))
	return now.Add(-d), err == nil && d >= 0
}

// parseSpan reads a Go duration, or days: 2d, 1d12h.
func parseSpan(text string) (time.Duration, error) {
	const day, mostDays = 24 * time.Hour, 100_000
	days, rest, ok := strings.Cut(text, "d")
	if !ok {
		return time.ParseDuration(text)
	}
	n, err := strconv.ParseUint(days, 10, 32)
	if err != nil || n > mostDays {
		return 0, fmt.Errorf("no number of days: %q", days)
	}
	if rest == "" {
		return time.Duration(n) * day, nil
	}
	d, err := time.ParseDuration(rest)
	if d < 0 {
		return 0, fmt.Errorf("negative duration %q", rest)
	}
	return time.Duration(n)*day + d, err
}
