package powerbutton

import (
	"context"
	"encoding/binary"
	"path/filepath"
	"testing"
	"time"
)

func event(kind, code uint16, value uint32) []byte {
	e := make([]byte, eventSize)
	binary.NativeEndian.PutUint16(e[16:], kind)
	binary.NativeEndian.PutUint16(e[18:], code)
	binary.NativeEndian.PutUint32(e[20:], value)
	return e
}

func TestIsPress(t *testing.T) {
	for _, c := range []struct {
		name  string
		event []byte
		want  bool
	}{
		{"power down", event(evKey, keyPower, 1), true},
		{"second power key", event(evKey, keyPower2, 1), true},
		{"power up", event(evKey, keyPower, 0), false},
		{"held", event(evKey, keyPower, 2), false},
		{"another key", event(evKey, 30, 1), false},
		{"another kind", event(0, keyPower, 1), false},
		{"torn", event(evKey, keyPower, 1)[:20], false},
	} {
		if got := isPress(c.event); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestWatchEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := Watch(ctx, filepath.Join(t.TempDir(), "input"), func() {}); err != nil {
		t.Fatal(err)
	}
}
