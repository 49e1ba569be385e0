package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/tmaxmax/go-sse"

	"keelson/services/events"
)

// EventQuery selects events of the journal.
type EventQuery struct {
	After    events.ID     // the last event that the client has; zero: from the first that is kept
	Follow   bool          // wait for events to come
	Services []string      // only events with these names; empty: all
	Kinds    []events.Kind // empty: all
}

// eventList is the response to a client that does not accept server-sent events.
type eventList struct {
	Events []events.Event `json:"events"`
	Gaps   []events.Gap   `json:"gaps,omitempty"` // in front of the event Next
}

// EventsRoute returns the operation that reads a journal.
func EventsRoute(journal *events.Journal) Route {
	return Route{"GET", prefix + "/events", Reader, []string{"after", "follow", "service", "kind"}, nil, eventList{}, true, func(w http.ResponseWriter, r *http.Request) {
		q, err := eventQuery(r)
		if err != nil {
			fail(w, problem{Status: http.StatusBadRequest, Detail: err.Error()})
			return
		}
		cursor := journal.Subscribe(q.After, events.Filter{Names: q.Services, Kinds: q.Kinds})
		if acceptsEvents(r) {
			streamEvents(r.Context(), w, cursor, q.Follow)
			return
		}
		list := eventList{Events: []events.Event{}}
		for batch := cursor.Read(); !batch.Last.IsZero(); batch = cursor.Read() {
			list.Events = append(list.Events, batch.Events...)
			if batch.Gap != nil {
				list.Gaps = append(list.Gaps, *batch.Gap)
			}
		}
		Reply(w, list)
	}}
}

// eventQuery reads the parameters of a request. Last-Event-ID, which clients send when they
// connect again, has precedence over after.
func eventQuery(r *http.Request) (EventQuery, error) {
	given := r.URL.Query()
	q := EventQuery{Services: given["service"]}
	var errs []error
	for _, kind := range given["kind"] {
		if !slices.Contains(events.Kinds(), events.Kind(kind)) {
			errs = append(errs, fmt.Errorf("there are no events of kind %.64q", kind))
		}
		q.Kinds = append(q.Kinds, events.Kind(kind))
	}
	var err error
	if q.Follow = acceptsEvents(r); given.Has("follow") {
		q.Follow, err = flagOf(given, "follow")
	}
	if q.Follow && !acceptsEvents(r) {
		err = errors.New("follow is only for clients that accept text/event-stream")
	}
	errs = append(errs, err)
	for _, after := range []string{r.Header.Get("Last-Event-ID"), given.Get("after")} {
		if after != "" {
			q.After, err = events.ParseID(after)
			errs = append(errs, err)
			break
		}
	}
	return q, errors.Join(errs...)
}

// streamEvents sends events until the client closes the connection or does not receive in time,
// the server ends or, without follow, all that are kept are sent.
func streamEvents(ctx context.Context, w http.ResponseWriter, cursor *events.Cursor, follow bool) {
	beginEvents(w)
	c := http.NewResponseController(w)
	err := c.Flush() // The client knows that it is connected.
	for err == nil {
		var batch events.Batch
		if follow {
			batch, _ = cursor.Next(ctx)
		}
		if batch.Last.IsZero() { // At the end of the server, its last events are sent.
			batch = cursor.Read()
		}
		if batch.Last.IsZero() {
			return
		}
		if _, err = w.Write(eventText(batch)); err == nil {
			err = c.Flush()
		}
	}
}

// eventText returns what is sent of a batch. Where its last event is not sent, since the client
// does not want it, the ID alone is, after which the client continues.
func eventText(batch events.Batch) []byte {
	var text bytes.Buffer
	add := func(id events.ID, kind events.Kind, data any) {
		m := sse.Message{}
		if !id.IsZero() {
			m.ID = sse.ID(id.String())
		}
		if data != nil {
			m.Type = sse.Type(string(kind))
			m.AppendData(encodeData(data))
		}
		_, _ = m.WriteTo(&text) // A buffer takes it.
	}
	if batch.Gap != nil {
		add(events.ID{}, events.KindGap, batch.Gap)
	}
	last := events.ID{}
	for _, e := range batch.Events {
		last = e.ID
		add(last, e.Kind, e)
	}
	if last != batch.Last {
		add(batch.Last, "", nil)
	}
	return text.Bytes()
}

// Events reads the journal of the supervisor, and calls f once when it is connected, then with the
// messages of the stream: events and gaps as JSON, with the IDs after which the stream is
// continued. A message without data has only the ID. It returns when the stream ends, or f returns an error.
func (c *Client) Events(ctx context.Context, q EventQuery, f func(id string, kind events.Kind, data string) error) error {
	answer, err := c.open(ctx, "/events", q.values(), eventsType)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if err := f("", "", ""); err != nil {
		return err
	}
	for event, err := range sse.Read(answer.Body, &sse.ReadConfig{MaxEventSize: requestLimit}) {
		if err != nil {
			return fmt.Errorf("the supervisor ended the stream of events: %w", err)
		}
		if err := f(event.LastEventID, events.Kind(event.Type), event.Data); err != nil {
			return err
		}
	}
	return nil
}

// values returns the parameters of a request.
func (q EventQuery) values() url.Values {
	v := url.Values{"follow": {strconv.FormatBool(q.Follow)}, "service": q.Services}
	for _, kind := range q.Kinds {
		v.Add("kind", string(kind))
	}
	if !q.After.IsZero() {
		v.Set("after", q.After.String())
	}
	return v
}
