package watch

import (
	"bytes"
	"encoding/binary"
	"iter"

	"golang.org/x/sys/unix"
)

// Event is an inotify event. ID is the watch descriptor of inotify_add_watch(2), Name the
// name of a file in a watched folder.
type Event struct {
	ID   int
	Mask uint32
	Name string
}

// Events parses what read(2) returns of an inotify instance: struct inotify_event is
// wd, mask, cookie and len of four bytes each, then len bytes of a name padded with zeros
// (inotify(7)). It ends at an event that is not complete.
func Events(buffer []byte) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		for len(buffer) >= unix.SizeofInotifyEvent {
			length := binary.NativeEndian.Uint32(buffer[12:])
			name := buffer[unix.SizeofInotifyEvent:]
			if uint64(length) > uint64(len(name)) {
				return
			}
			event := Event{
				ID: int(int32(binary.NativeEndian.Uint32(buffer))), Mask: binary.NativeEndian.Uint32(buffer[4:]),
				Name: string(bytes.TrimRight(name[:length], "\x00")),
			}
			buffer = name[length:]
			if !yield(event) {
				return
			}
		}
	}
}
