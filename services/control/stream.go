package control

import (
	"mime"
	"net/http"
	"strings"

	"github.com/tmaxmax/go-sse"
)

// eventsType is the media type of server-sent events.
const eventsType = "text/event-stream"

// acceptsEvents reports whether a client asks for server-sent events.
func acceptsEvents(r *http.Request) bool {
	for _, accept := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(accept, ",") {
			if media, _, err := mime.ParseMediaType(part); err == nil && media == eventsType {
				return true
			}
		}
	}
	return false
}

// beginEvents sends the header of a stream.
func beginEvents(w http.ResponseWriter) {
	w.Header().Set("Content-Type", eventsType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
}

// eventStream sends server-sent events to a client that accepts them.
type eventStream struct {
	w         http.ResponseWriter
	accepted  bool
	continues bool // the client may wait for 100 Continue
	begun     bool
}

// send sends an event. A client that has gone, or does not receive in time, loses it: its
// connection is of no use any more.
func (s *eventStream) send(name string, data any) {
	if !s.accepted {
		return
	}
	if !s.begun {
		s.begun = true
		if s.continues { // A client that waits for it does not send the body after a response has begun.
			s.w.WriteHeader(http.StatusContinue)
		}
		beginEvents(s.w)
	}
	message := sse.Message{Type: sse.Type(name)}
	message.AppendData(encodeData(data))
	if _, err := message.WriteTo(s.w); err == nil {
		_ = http.NewResponseController(s.w).Flush()
	}
}
