package events

import (
	"fmt"
	"strings"
	"time"

	"keelson/runtime/timeline"
)

// timeFormat is RFC 3339 with milliseconds.
const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// String returns the event as one line for people: "TIME KIND NAME: FROM -> TO, …".
func (e Event) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", e.Time.Format(timeFormat), timeline.OneLine(string(e.Kind)))
	if e.Name != "" {
		b.WriteString(" " + timeline.OneLine(e.Name))
	}
	if parts := e.parts(); len(parts) > 0 {
		b.WriteString(": " + strings.Join(parts, ", "))
	}
	return b.String()
}

func (e Event) parts() (parts []string) {
	add := func(format, value string) {
		if value = timeline.OneLine(value); value != "" {
			parts = append(parts, fmt.Sprintf(format, value))
		}
	}
	if e.From != "" {
		add("%s", e.From+" -> "+e.To)
	} else {
		add("%s", e.To)
	}
	if e.Exit != nil {
		add("%s", e.Exit.String())
	}
	add("%s", e.Text)
	if e.PID != 0 {
		add("pid %s", fmt.Sprint(e.PID))
	}
	if e.Restarts != 0 {
		add("restarts %s", fmt.Sprint(e.Restarts))
	}
	add("container %s", e.Container)
	version, digits, digest := strings.Cut(e.Version, ":")
	if digest {
		version += ":" + digits[:min(len(digits), 12)]
	}
	add("version %s", version)
	add("by %s", e.By)
	if e.Took > 0 {
		add("after %s", e.Took.Round(time.Millisecond).String())
	}
	return parts
}

// String describes the end, such as "exited 3" or "killed by SIGKILL (out of memory)".
func (x Exit) String() string {
	text := fmt.Sprintf("exited %d", x.Code)
	switch {
	case x.Unknown:
		text = "exited, status unknown"
	case x.Signal != "":
		text = "killed by " + x.Signal
	}
	if x.OOM {
		text += " (out of memory)"
	}
	return text
}
