package bundle

import (
	"maps"
	"reflect"
	"slices"
	"testing"
)

// The annotations of settings give these settings again, and there is one for each setting.
func TestAnnotations(t *testing.T) {
	full := map[string]string{
		"keelson.role": "service", "keelson.restart": "always", "keelson.restart.delay": "2s", "keelson.restart.max-delay": "1m0s", "keelson.restart.limit": "5/1m0s",
		"keelson.after": "a,b", "keelson.requires": "c", "keelson.ready": "tcp:80", "keelson.ready.timeout": "30s", "keelson.health": "exec:/bin/check 'a b'",
		"keelson.health.interval": "5s", "keelson.health.timeout": "1s", "keelson.health.retries": "2", "keelson.stop.signal": "SIGINT", "keelson.stop.timeout": "3s",
		"keelson.on-failure": "reboot", "keelson.seccomp": "default", "keelson.delegate": "true", "keelson.listen": "web=tcp:80 unix:/run/x.sock",
		"keelson.userns": "auto", "keelson.pressure": "never", "keelson.capabilities": CapabilitySets()[0], "keelson.swap": "overlap", "keelson.swap.probation": "10s", "keelson.swap.keep": "env",
		"keelson.timeout": "9s", "keelson.retries": "4", "keelson.log.size": "1048576",
	}
	if len(full) != len(setters) {
		t.Errorf("%d of %d settings are tested", len(full), len(setters))
	}
	for _, annotations := range []map[string]string{full, {}, {"keelson.stop.signal": "40"}} {
		want, errs := ParseSettings(annotations)
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		got, errs := ParseSettings(want.Annotations())
		if len(errs) > 0 || !reflect.DeepEqual(got, want) {
			t.Errorf("%v: %+v, want %+v", errs, got, want)
		}
	}
	s, _ := ParseSettings(full)
	if got := s.Annotations(); !maps.Equal(got, full) {
		t.Errorf("got %v, want %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(full)))
	}
}
