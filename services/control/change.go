package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"
)

// Names of the server-sent events of a request that changes a version.
const (
	progressEvent = "progress"
	resultEvent   = "result"
	problemEvent  = "problem"
)

// progressData is the data of a progress event.
type progressData struct {
	Text string `json:"text"`
}

// result is the answer to a request that changes a version.
type result struct {
	Plan []string `json:"plan,omitempty"`
	Note string   `json:"note,omitempty"`
}

// change returns the handler of Swap, Rollback or Remove, for a service or, where the path
// names none, for keelson's own programs.
func (s *Server) change(verb string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		request, err := changeRequest(verb, r)
		if err != nil {
			w.Header().Set("Connection", "close")
			fail(w, problem{Status: http.StatusBadRequest, Detail: err.Error()})
			return
		}
		stream := &eventStream{w: w, accepted: acceptsEvents(r), continues: r.Header.Get("Expect") != ""}
		request.Progress = func(text string) { stream.send(progressEvent, progressData{text}) }
		switch {
		case verb == Swap && r.Header.Get(artifactHeader) != "":
			file, err := takeFile(r)
			if err != nil {
				w.Header().Set("Connection", "close")
				fail(w, problem{Status: http.StatusUnsupportedMediaType, Detail: err.Error()})
				return
			}
			defer file.Close()
			request.Body = file
		case verb == Swap:
			stop := context.AfterFunc(r.Context(), func() { // Ends the read of a body.
				_ = http.NewResponseController(w).SetReadDeadline(time.Now())
			})
			defer stop()
			request.Body = patient{r, http.NewResponseController(w)}
			_ = http.NewResponseController(w).EnableFullDuplex() // Progress is sent before the end of the body.
		}
		response := s.Handler.Control(r.Context(), request)
		switch {
		case response.Error != "" && !stream.begun:
			fail(w, problemOf(response))
		case response.Error != "":
			stream.send(problemEvent, problemOf(response).titled())
		case stream.accepted:
			stream.send(resultEvent, result{response.Plan, response.Note})
		default:
			Reply(w, result{response.Plan, response.Note})
		}
	}
}

func changeRequest(verb string, r *http.Request) (Request, error) {
	q := r.URL.Query()
	request := Request{Verb: verb, Peer: CallerOf(r)}
	if name := r.PathValue("name"); name != "" {
		request.Names = []string{name}
	} else {
		request.Programs = true
	}
	var errs [3]error
	request.Plan, errs[0] = flagOf(q, "plan")
	request.Force, errs[1] = flagOf(q, "force")
	request.Probation, errs[2] = probationOf(q)
	return request, errors.Join(errs[:]...)
}

func probationOf(q url.Values) (time.Duration, error) {
	if q.Get("probation") == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(q.Get("probation"))
	if err != nil {
		return 0, fmt.Errorf("probation=%s is not a duration such as 30s", q.Get("probation"))
	}
	return d, nil
}

// patient reads the body of a request whose client may pause.
type patient struct {
	r *http.Request
	c *http.ResponseController
}

func (p patient) Read(b []byte) (int, error) {
	if err := p.c.SetReadDeadline(time.Now().Add(bodyTime)); err != nil {
		return 0, err
	}
	if err := p.r.Context().Err(); err != nil { // Its end has set another deadline before.
		return 0, err
	}
	n, err := p.r.Body.Read(b)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("the client has sent nothing for %v", bodyTime)
	case errors.Is(err, io.EOF): // From here the server only waits for the end of the connection.
		_ = p.c.SetReadDeadline(time.Time{})
	}
	return n, err
}

// encodeData returns the data of an event, which is one line.
func encodeData(v any) string {
	text, err := json.Marshal(v)
	if err != nil { // The types of events can be encoded.
		return "{}"
	}
	return string(text)
}
