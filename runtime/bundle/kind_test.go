package bundle

import (
	"fmt"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func TestInapplicable(t *testing.T) {
	const only = "[annotation keelson.%s: value %q has no effect: this setting is only for %s]"
	for _, c := range []struct {
		key, value string
		kind       Kind
		want       string
	}{
		{"keelson.on-failure", "reboot", KindService, fmt.Sprintf(only, "on-failure", "reboot", "onboot and onshutdown containers")},
		{"keelson.timeout", "5s", KindService, fmt.Sprintf(only, "timeout", "5s", "onboot and onshutdown containers")},
		{"keelson.retries", "x", KindService, fmt.Sprintf(only, "retries", "x", "onboot and onshutdown containers")},
		{"keelson.retries", "3", KindOneShot, "[]"},
		{"keelson.restart", "always", KindOneShot, fmt.Sprintf(only, "restart", "always", "services")},
		{"keelson.health.retries", "3", KindOneShot, fmt.Sprintf(only, "health.retries", "3", "services")},
		{"keelson.ready", "notify", KindService, "[]"},
		{"keelson.restart.delay", "1s", KindOneShot, "[]"},
		{"keelson.stop.timeout", "1s", KindService, "[]"},
		{"retries", "3", KindService, "[]"},
		{"keelson.nothing", "3", KindService, "[]"}, // ParseSettings reports it.
	} {
		b := &Bundle{Spec: &specs.Spec{Annotations: map[string]string{c.key: c.value}}}
		if got := fmt.Sprint(b.Inapplicable(c.kind)); got != c.want {
			t.Errorf("%s=%s: got %s, want %s", c.key, c.value, got, c.want)
		}
	}
}

// Each name in kindOf is a setting.
func TestKindsAreSettings(t *testing.T) {
	for name := range kindOf {
		if setters[name] == nil {
			t.Errorf("%s is not a setting", name)
		}
	}
}
