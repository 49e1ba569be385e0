package control

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tmaxmax/go-sse"

	"keelson/services/events"
)

// journalServer serves a journal that is in memory, whose numbers begin with 1.
type journalServer struct {
	*events.Journal
	socket string
	end    func() // of the server
}

func serveJournal(t *testing.T) *journalServer {
	t.Helper()
	s := &journalServer{
		Journal: events.Open(events.Options{Boot: 0xa, Now: func() time.Duration { return 0 }}),
		socket:  filepath.Join(t.TempDir(), "s"),
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	server := &Server{
		Handler: handler(func(context.Context, Request) Response { return Response{} }),
		More:    []Route{EventsRoute(s.Journal)},
	}
	go func() { done <- server.Serve(ctx, s.socket) }()
	s.end = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(s.end)
	waitForSocket(s.socket)
	return s
}

func (s *journalServer) add(names ...string) {
	for _, name := range names {
		s.Append(events.Event{Kind: events.Service, Name: name, To: "running"})
	}
}

// get sends a request.
func (s *journalServer) get(t *testing.T, query string, header http.Header) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://keelson/v1/events?"+query, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header
	client := http.Client{Transport: transport(s.socket)}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return response
}

var accepts = http.Header{"Accept": {eventsType}}

// rest returns the rest of a stream: IDs and names of messages.
func rest(t *testing.T, body io.Reader) string {
	t.Helper()
	var got []string
	for m, err := range sse.Read(body, nil) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, m.LastEventID+"/"+m.Type)
	}
	return strings.Join(got, " ")
}

func TestEventQueries(t *testing.T) {
	s := serveJournal(t)
	s.add("a", "b", "a", "c")
	for _, tt := range []struct{ query, last, want string }{
		{"follow=0", "", "0000000a.1/service 0000000a.2/service 0000000a.3/service 0000000a.4/service"},
		{"follow=false&after=0000000a.2", "", "0000000a.3/service 0000000a.4/service"},
		{"follow=0&after=0000000a.2", "0000000a.3", "0000000a.4/service"},
		{"follow=0&after=0000000a.4", "", ""},
		{"follow=0&service=a&service=b", "", "0000000a.1/service 0000000a.2/service 0000000a.3/service 0000000a.4/"},
		{"follow=0&kind=swap&kind=probe", "", "0000000a.4/"},
		{"follow=0&after=0000000b.1&service=c", "", "/gap 0000000a.4/service"},
	} {
		header := accepts.Clone()
		if tt.last != "" {
			header.Set("Last-Event-ID", tt.last)
		}
		response := s.get(t, tt.query, header)
		if got := rest(t, response.Body); got != tt.want || response.Header.Get("Content-Type") != eventsType {
			t.Errorf("%s, %s: %q, want %q", tt.query, tt.last, got, tt.want)
		}
	}
	for query, header := range map[string]http.Header{
		"follow=x": accepts, "after=7": accepts, "kind=other": accepts, "follow=1": {}, "names=a": accepts,
		"follow=0": {"Accept": {eventsType}, "Last-Event-Id": {"x"}},
	} {
		if response := s.get(t, query, header); response.StatusCode != http.StatusBadRequest || response.Header.Get("Content-Type") != problemType {
			t.Errorf("%s: %s", query, response.Status)
		}
	}
}

// A client that does not accept a stream gets what is kept.
func TestEventList(t *testing.T) {
	s := serveJournal(t)
	s.add("a", "b")
	for query, want := range map[string]string{"service=b&after=0000000b.7": "1 1", "after=0000000a.2": "0 0", "": "2 0"} {
		var list eventList
		if err := json.NewDecoder(s.get(t, query, http.Header{}).Body).Decode(&list); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(len(list.Events), len(list.Gaps)); got != want || list.Events == nil {
			t.Errorf("%s: %+v", query, list)
		}
	}
}

// A client is connected before there is an event, and gets each as it happens. The stream ends
// with the server, after the last event.
func TestEventsAreFollowed(t *testing.T) {
	s := serveJournal(t)
	var got []string
	seen, done := make(chan string), make(chan error, 1)
	go func() {
		done <- Unix(s.socket).Events(t.Context(), EventQuery{Follow: true}, func(id string, kind events.Kind, data string) error {
			seen <- fmt.Sprintf("%s/%s/%v", id, kind, strings.Contains(data, `"to":"running"`))
			return nil
		})
	}()
	got = append(got, <-seen)
	for range 3 {
		s.add("a")
		got = append(got, <-seen)
	}
	go func() {
		s.add("b")
		s.end()
	}()
	got = append(got, <-seen)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if want := "//false 0000000a.1/service/true 0000000a.2/service/true 0000000a.3/service/true 0000000a.4/service/true"; strings.Join(got, " ") != want {
		t.Errorf("got %s", got)
	}
}

// A client that takes nothing delays nobody, and gets a gap if it continues
// before its connection is closed.
func TestSlowClientOfEvents(t *testing.T) {
	s := serveJournal(t)
	s.add("first")
	const count = 5000 // more than the connection and the journal hold
	long := strings.Repeat("x", events.TextLimit)
	connected, seen, missed := false, 0, 0
	err := Unix(s.socket).Events(t.Context(), EventQuery{Follow: true}, func(id string, kind events.Kind, data string) error {
		switch {
		case !connected:
			connected = true
		case kind == events.KindGap:
			var gap events.Gap
			if err := json.Unmarshal([]byte(data), &gap); err != nil {
				t.Error(err)
			}
			missed += int(gap.Missed)
		case seen == 0:
			for range count {
				s.Append(events.Event{Kind: events.Service, Name: "a", Text: long})
			}
			seen++
		default:
			seen++
		}
		if seen+missed == count+1 {
			return io.EOF
		}
		return nil
	})
	if err != io.EOF || missed == 0 {
		t.Errorf("%d events were read and %d missed, of %d: %v", seen, missed, count+1, err)
	}
}

func TestEventsProblems(t *testing.T) {
	s := serveJournal(t)
	none := func(string, events.Kind, string) error { return nil }
	err := Unix(s.socket).Events(t.Context(), EventQuery{Kinds: []events.Kind{"x"}}, none)
	if err == nil || !strings.Contains(err.Error(), `no events of kind "x"`) {
		t.Errorf("got %v", err)
	}
	if err := Unix(filepath.Join(t.TempDir(), "none")).Events(t.Context(), EventQuery{}, none); err == nil || !strings.Contains(err.Error(), "cannot reach the supervisor") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = Unix(s.socket).Events(ctx, EventQuery{Follow: true}, func(string, events.Kind, string) error { cancel(); return nil })
	if err == nil {
		t.Error("a cancelled stream ended without an error")
	}
}
