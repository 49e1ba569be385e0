package condition

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Condition{
		"clock": {Clock, ""}, "device:/dev/ttyUSB0": {Device, "/dev/ttyUSB0"}, "mount:/": {Mount, "/"},
		"path:/run/a:b,c": {Path, "/run/a:b,c"}, "net:online": {Net, Online}, "net:eth0.7": {Net, "eth0.7"},
	} {
		if got, err := Parse(text); got != want || err != nil || got.String() != text || !Is(text) {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"clock:": "want clock without more", "device:": "absolute path after device:", "mount:var": "absolute path after mount:",
		"path:/a/../b": "absolute path", "path:/a/": "absolute path", "net:": "name of an interface", "net:sixteen-letters-": "name of an interface",
		"path:/sys/class/net/eth0": "does not say when", "device:/proc/x": "does not say when",
		"net:a/b": "name of an interface", "web": "want device:/dev/NAME", "dev:/dev/x": "want device:/dev/NAME", "path:/a\nb": "absolute path",
	} {
		if got, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v; want %s", text, got, err, want)
		}
	}
	if Is("web") || Is("clock2") {
		t.Error("names of services are conditions")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("device:/dev/x")
	f.Add("net:online")
	f.Add("clock")
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := Parse(text); err == nil && (c.String() != text || !Is(text)) {
			t.Errorf("%q is read as %q", text, c)
		}
	})
}
