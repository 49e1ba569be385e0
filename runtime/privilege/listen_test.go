package privilege

import (
	"slices"
	"testing"
)

// Only sockets that the service did not have are gains, whatever their order and names.
func TestSockets(t *testing.T) {
	for _, tt := range []struct {
		was, is string
		want    []string
	}{
		{"tcp:80 udp:53", "dns=udp:53 tcp:80", nil},
		{"tcp:80 udp:53", "udp:53", nil},
		{"tcp:127.0.0.1:80", "tcp:80", []string{"annotations=keelson.listen=tcp:80"}},
		{"tcp:x", "tcp:80", []string{"annotations=keelson.listen=tcp:80"}},
		{"tcp:80", "tcp:80 unix:/run/x", []string{"annotations=keelson.listen=unix:/run/x"}},
	} {
		c := &comparison{}
		annotations(c, "annotations", object{"keelson.listen": tt.was}, object{"keelson.listen": tt.is})
		if got := names(c.gains); !slices.Equal(got, tt.want) {
			t.Errorf("%s, then %s: %q, want %q", tt.was, tt.is, got, tt.want)
		}
	}
}
