package watch

import (
	"encoding/binary"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func encode(events ...Event) (buffer []byte) {
	for _, e := range events {
		padded := []byte(e.Name)
		for len(padded)%16 != 0 {
			padded = append(padded, 0)
		}
		for _, n := range []uint32{uint32(e.ID), e.Mask, 0, uint32(len(padded))} {
			buffer = binary.NativeEndian.AppendUint32(buffer, n)
		}
		buffer = append(buffer, padded...)
	}
	return buffer
}

func TestEvents(t *testing.T) {
	want := []Event{{1, unix.IN_CREATE, "web.log"}, {-1, unix.IN_Q_OVERFLOW, ""}, {2, unix.IN_MOVED_TO, "a name of 16 byt"}}
	buffer := encode(want...)
	if got := slices.Collect(Events(buffer)); !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := slices.Collect(Events(buffer[:len(buffer)-1])); !slices.Equal(got, want[:2]) {
		t.Errorf("an incomplete last event: %+v", got)
	}
	for e := range Events(buffer) {
		if e != want[0] {
			t.Errorf("first event %+v", e)
		}
		break
	}
}

func FuzzEvents(f *testing.F) {
	f.Add(encode(Event{1, unix.IN_CREATE, "x"}))
	f.Add([]byte("0000000000000\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, buffer []byte) {
		if n := len(slices.Collect(Events(buffer))); n > len(buffer)/unix.SizeofInotifyEvent {
			t.Fatalf("%d events in %d bytes", n, len(buffer))
		}
	})
}
