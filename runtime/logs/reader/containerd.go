package reader

import (
	"bytes"
	"time"
)

const containerdName = "containerd"

// containerdTime returns the time in a line of containerd: time="RFC 3339" level=….
func containerdTime(line []byte) (time.Time, bool) {
	text, ok := bytes.CutPrefix(line, []byte(`time="`))
	if !ok {
		return time.Time{}, false
	}
	text, _, ok = bytes.Cut(text, []byte(`"`))
	if !ok || len(text) > len(time.RFC3339Nano) {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339, string(text))
	return t, err == nil
}
