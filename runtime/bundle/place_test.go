package bundle

import (
	"fmt"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func TestMisplaced(t *testing.T) {
	const alone = "[annotation keelson.%s: value %q is of no use: this setting is for %s alone]"
	for _, c := range []struct {
		key, value string
		as         Place
		want       string
	}{
		{"keelson.on-failure", "reboot", AsService, fmt.Sprintf(alone, "on-failure", "reboot", "onboot and onshutdown containers")},
		{"keelson.timeout", "5s", AsService, fmt.Sprintf(alone, "timeout", "5s", "onboot and onshutdown containers")},
		{"keelson.retries", "x", AsService, fmt.Sprintf(alone, "retries", "x", "onboot and onshutdown containers")},
		{"keelson.retries", "3", AsOneShot, "[]"},
		{"keelson.restart", "always", AsOneShot, fmt.Sprintf(alone, "restart", "always", "services")},
		{"keelson.health.retries", "3", AsOneShot, fmt.Sprintf(alone, "health.retries", "3", "services")},
		{"keelson.ready", "notify", AsService, "[]"},
		{"keelson.restart.delay", "1s", AsOneShot, "[]"},
		{"keelson.stop.timeout", "1s", AsService, "[]"},
		{"retries", "3", AsService, "[]"},
		{"keelson.nothing", "3", AsService, "[]"}, // ParseSettings tells of it.
	} {
		b := &Bundle{Spec: &specs.Spec{Annotations: map[string]string{c.key: c.value}}}
		if got := fmt.Sprint(b.Misplaced(c.as)); got != c.want {
			t.Errorf("%s=%s: got %s, want %s", c.key, c.value, got, c.want)
		}
	}
}

// Each setting with a place is one.
func TestPlacesAreSettings(t *testing.T) {
	for name := range placeOf {
		if setters[name] == nil {
			t.Errorf("there is no setting %s", name)
		}
	}
}
