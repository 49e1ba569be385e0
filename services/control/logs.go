package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"github.com/tmaxmax/go-sse"

	"keelson/runtime/logs/reader"
	"keelson/services/events"
)

// linesType is the media type of lines of JSON (https://github.com/ndjson/ndjson-spec).
const linesType = "application/x-ndjson"

// lineEvent is the name of the server-sent event with a line of a log.
const lineEvent = "line"

// LogQuery selects lines of logs. Texts mean what they mean to `service logs`.
type LogQuery struct {
	Names        []string // patterns of path.Match; none: all logs
	Since, Until string   // texts of reader.ParseTime
	Grep         string   // a regular expression
	Lines        int      // only the last ones; 0: all
	Follow       bool     // continue with lines to come
	Boot         string   // only of one boot: 0, -1, …; empty: of all
}

// logParameters are the names of the parameters of a LogQuery.
var logParameters = []string{"name", "since", "until", "grep", "lines", "follow", "boot"}

// LogsRoute returns the operation that reads logs. handle is LogsHandler in another process.
func LogsRoute(handle http.HandlerFunc) Route {
	return Route{"GET", prefix + "/logs", Operator, logParameters, nil, Lines{reader.Object{}}, true, handle}
}

// LogsHandler reads logs for clients, which decide how long that takes.
func LogsHandler(set reader.Set) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q, err := logQuery(r.URL.Query())
		var options reader.Options
		if err == nil {
			options, err = q.Options(time.Now())
		}
		set := set
		if err == nil {
			set, err = q.Of(set)
		}
		switch {
		case errors.Is(err, reader.ErrNoBoot):
			fail(w, problem{Status: http.StatusNotFound, Detail: err.Error()})
			return
		case err != nil:
			fail(w, problem{Status: http.StatusBadRequest, Detail: err.Error()})
			return
		}
		for _, name := range options.Names {
			found, err := set.Names(name)
			if err == nil && len(found) == 0 && !options.Follow {
				fail(w, problem{Status: http.StatusNotFound, Detail: fmt.Sprintf("no log is named %.256q", name)})
				return
			}
			if err != nil {
				fail(w, problem{Status: http.StatusInternalServerError, Detail: err.Error()})
				return
			}
		}
		s := &logStream{w: w, events: acceptsEvents(r)}
		if err := s.send(r.Context(), set, options); err != nil {
			s.abort(err)
		}
	}
}

// logQuery reads the parameters of a request.
func logQuery(q url.Values) (l LogQuery, err error) {
	l = LogQuery{Names: q["name"], Since: q.Get("since"), Until: q.Get("until"), Grep: q.Get("grep"), Boot: q.Get("boot")}
	if text := q.Get("lines"); text != "" {
		if l.Lines, err = strconv.Atoi(text); err != nil || l.Lines < 0 {
			return l, fmt.Errorf("lines=%.64s is no number of lines", text)
		}
	}
	l.Follow, err = flagOf(q, "follow")
	return l, err
}

// Options returns what the texts of a query mean at a time. Errors name the option of the command
// line.
func (q LogQuery) Options(now time.Time) (o reader.Options, err error) {
	o = reader.Options{Names: q.Names, Lines: q.Lines, Follow: q.Follow}
	if q.Since != "" {
		if o.Since, err = reader.ParseTime(q.Since, now); err != nil {
			return o, fmt.Errorf("--since: %w", err)
		}
	}
	if q.Until != "" {
		if o.Until, err = reader.ParseTime(q.Until, now); err != nil {
			return o, fmt.Errorf("--until: %w", err)
		}
		if q.Follow {
			return o, errors.New("-f and --until exclude each other")
		}
	}
	if q.Grep != "" {
		if o.Match, err = regexp.Compile(q.Grep); err != nil {
			return o, fmt.Errorf("--grep: %w", err)
		}
	}
	return o, nil
}

// Of returns the logs of the boot that a query selects. The error is reader.ErrNoBoot if it is not
// kept.
func (q LogQuery) Of(set reader.Set) (reader.Set, error) {
	if q.Boot == "" {
		return set, nil
	}
	place, err := strconv.Atoi(q.Boot)
	switch {
	case err != nil || place > 0:
		return set, fmt.Errorf("--boot: bad boot %.64q: want 0 for the one that runs, -1 for the one before, and so on", q.Boot)
	case place < 0 && q.Follow:
		return set, errors.New("-f and --boot of a boot that has ended exclude each other")
	}
	return set.Boot(place)
}

// logStream sends lines of logs.
type logStream struct {
	w      http.ResponseWriter
	out    *bufio.Writer
	events bool
}

// sendBuffer is how much is sent at a time at most, in bytes.
const sendBuffer = 64 << 10

func (s *logStream) send(ctx context.Context, set reader.Set, o reader.Options) error {
	s.out = bufio.NewWriterSize(s.w, sendBuffer)
	if s.events {
		beginEvents(s.w)
	} else {
		s.w.Header().Set("Content-Type", linesType)
		s.w.WriteHeader(http.StatusOK)
	}
	failed := s.flush() // The client knows that it is connected.
	o.Waiting = func() { failed = s.flush() }
	var line []byte
	for e, err := range set.Read(ctx, o) {
		if err == nil {
			line = reader.JSON(line[:0], e)
			err = s.line(line, e.Gap)
		}
		if err = errors.Join(err, failed); err != nil {
			return err
		}
	}
	return errors.Join(failed, s.flush())
}

func (s *logStream) flush() error {
	if err := s.out.Flush(); err != nil {
		return err
	}
	return http.NewResponseController(s.w).Flush()
}

// line sends a line of JSON. Parts of a line that come after it have none.
func (s *logStream) line(text []byte, gap bool) (err error) {
	if len(text) > 0 && s.events {
		kind := lineEvent
		if gap {
			kind = string(events.KindGap)
		}
		m := sse.Message{Type: sse.Type(kind)}
		m.AppendData(string(text[:len(text)-1]))
		_, err = m.WriteTo(s.out)
	} else {
		_, err = s.out.Write(text)
	}
	return err
}

// abort ends a response that has begun, so that the client does not take what it has for everything.
func (s *logStream) abort(err error) {
	if s.events {
		m := sse.Message{Type: sse.Type(problemEvent)}
		m.AppendData(encodeData(problem{Status: http.StatusInternalServerError, Detail: err.Error()}.titled()))
		_, _ = m.WriteTo(s.out) // The client may have gone.
		_ = s.flush()
	}
	if conn, _, err := http.NewResponseController(s.w).Hijack(); err == nil {
		_ = conn.Close() // Without the end of the response.
	}
}

// Logs calls f with each line of logs, until there are no more or f returns an error. It says whether
// there is more that has arrived.
func (c *Client) Logs(ctx context.Context, q LogQuery, f func(o reader.Object, more bool) error) error {
	answer, err := c.open(ctx, "/logs", q.values(), linesType)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	lines := json.NewDecoder(answer.Body)
	for {
		var o reader.Object
		if err := lines.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("the supervisor ended the stream of logs: %w", err)
		}
		rest, _ := lines.Buffered().(*bytes.Reader)
		if err := f(o, rest != nil && rest.Len() > len("\n")); err != nil {
			return err
		}
	}
}

// values returns the parameters of a request.
func (q LogQuery) values() url.Values {
	v := url.Values{"name": q.Names}
	for name, text := range map[string]string{"since": q.Since, "until": q.Until, "grep": q.Grep, "boot": q.Boot} {
		if text != "" {
			v.Set(name, text)
		}
	}
	if q.Lines > 0 {
		v.Set("lines", strconv.Itoa(q.Lines))
	}
	if q.Follow {
		v.Set("follow", "true")
	}
	return v
}
