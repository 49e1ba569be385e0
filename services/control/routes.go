package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Route is an operation of the API. Except for Handle, it is what docs/api.yaml says of it.
type Route struct {
	Method string
	Path   string   // a pattern of net/http.ServeMux
	Role   Role     // that a client of the gate needs
	Query  []string // names of the parameters it takes
	Body   any      // value of the type of its body: JSON, or Stream; nil: it takes none
	Answer any      // value of the type of its response: JSON, or Text; nil: 204 No Content
	Events bool     // the response may be server-sent events
	Handle http.HandlerFunc
}

// Stream stands for a body that is not JSON, Text for a response that is not, and Lines for one of
// which each line is a Line in JSON.
type (
	Stream struct{}
	Text   struct{}
	Lines  struct{ Line any }
)

const prefix = "/v1"

// Routes returns the operations of the API.
func (s *Server) Routes() []Route {
	const service, own, machine = prefix + "/services/{name}", prefix + "/programs", prefix + "/machine"
	return append([]Route{
		{"GET", prefix + "/services", Reader, []string{"name"}, nil, services{}, false, s.list},
		{"GET", service, Reader, nil, nil, Service{}, false, s.show},
		{"POST", service + "/start", Operator, nil, nil, nil, false, s.order(Start)},
		{"POST", service + "/stop", Operator, nil, nil, nil, false, s.order(Stop)},
		{"POST", service + "/restart", Operator, nil, nil, nil, false, s.order(Restart)},
		{"POST", service + "/kill", Operator, []string{"signal"}, nil, nil, false, s.kill},
		{"POST", service + "/swap", Admin, []string{"plan", "force"}, Stream{}, result{}, true, s.change(Swap)},
		{"POST", service + "/rollback", Admin, []string{"plan"}, nil, result{}, true, s.change(Rollback)},
		{"POST", service + "/remove", Admin, []string{"plan"}, nil, result{}, true, s.change(Remove)},
		{"POST", prefix + "/orders", Operator, nil, order{}, nil, false, s.orders},
		{"POST", own + "/swap", Admin, []string{"plan", "force", "probation"}, Stream{}, result{}, true, s.change(Swap)},
		{"POST", own + "/rollback", Admin, []string{"plan", "probation"}, nil, result{}, true, s.change(Rollback)},
		{"POST", machine + "/poweroff", Admin, nil, nil, nil, false, s.power(PowerOff)},
		{"POST", machine + "/reboot", Admin, nil, nil, nil, false, s.power(Reboot)},
		{"POST", machine + "/halt", Admin, nil, nil, nil, false, s.power(Halt)},
		{"GET", prefix + "/differences", Reader, nil, nil, differences{}, false, s.differences},
	}, s.More...)
}

// mux returns the handler of all routes. What they do not have is a problem document too.
func (s *Server) mux() http.Handler {
	mux := http.NewServeMux()
	methods := map[string][]string{}
	for _, route := range s.Routes() {
		mux.HandleFunc(route.Method+" "+route.Path, route.serve)
		methods[route.Path] = append(methods[route.Path], route.Method)
	}
	for path, allowed := range methods {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			fail(w, problem{Status: http.StatusMethodNotAllowed, Detail: fmt.Sprintf("%s takes %s", r.URL.Path, strings.Join(allowed, " or "))})
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, problem{Status: http.StatusNotFound, Detail: fmt.Sprintf("the API has no %s", r.URL.Path)})
	})
	return bounded(mux)
}

// bounded ends the connection of a client that does not send the rest of a body which its
// request did not need.
func bounded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { _ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(requestTime)) }()
		h.ServeHTTP(w, r)
	})
}

// serve refuses clients that may not use the operation, and parameters and bodies that it does
// not have.
func (route Route) serve(w http.ResponseWriter, r *http.Request) {
	if from := callerOf(r); !from.role.May(route.Role) {
		w.Header().Set("Connection", "close") // A body is not read.
		fail(w, problem{Status: http.StatusForbidden, Detail: fmt.Sprintf("%s %s is for the role %s, not for %s", route.Method, r.URL.Path, route.Role, from.person)})
		return
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	for name := range query {
		if !slices.Contains(route.Query, name) {
			err = errors.Join(err, fmt.Errorf("%s %s takes no parameter %q", route.Method, r.URL.Path, name))
		}
	}
	if r.ContentLength != 0 && route.Body == nil {
		err = errors.Join(err, fmt.Errorf("%s %s takes no body", route.Method, r.URL.Path))
	}
	if err != nil {
		w.Header().Set("Connection", "close") // A body is not read.
		fail(w, problem{Status: http.StatusBadRequest, Detail: err.Error()})
		return
	}
	route.Handle(w, r)
}

// list answers with all services, or with those named.
func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	response := s.Handler.Control(r.Context(), Request{Verb: List, Names: r.URL.Query()["name"]})
	if response.Error != "" {
		fail(w, problemOf(response))
		return
	}
	Reply(w, services{append([]Service{}, response.Services...)})
}

type services struct {
	Services []Service `json:"services"`
}

// show answers with one service.
func (s *Server) show(w http.ResponseWriter, r *http.Request) {
	response := s.Handler.Control(r.Context(), Request{Verb: List, Names: []string{r.PathValue("name")}})
	if response.Error != "" || len(response.Services) != 1 {
		fail(w, problemOf(response))
		return
	}
	Reply(w, response.Services[0])
}

// order starts, stops or restarts one service.
func (s *Server) order(verb string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.do(w, r, Request{Verb: verb, Names: []string{r.PathValue("name")}})
	}
}

// kill signals a service.
func (s *Server) kill(w http.ResponseWriter, r *http.Request) {
	s.do(w, r, Request{Verb: Kill, Names: []string{r.PathValue("name")}, Signal: r.URL.Query().Get("signal")})
}

// order is the body of an order for several services.
type order struct {
	Verb     string   `json:"verb"`
	Services []string `json:"services"`
}

// orders starts, stops or restarts several services.
func (s *Server) orders(w http.ResponseWriter, r *http.Request) {
	var o order
	if !decode(w, r, &o) {
		return
	}
	if o.Verb != Start && o.Verb != Stop && o.Verb != Restart {
		fail(w, problem{Status: http.StatusBadRequest, Detail: fmt.Sprintf("verb: %q is none of start, stop and restart", o.Verb)})
		return
	}
	if len(o.Services) == 0 {
		fail(w, problem{Status: http.StatusBadRequest, Detail: "services: names no service"})
		return
	}
	s.do(w, r, Request{Verb: o.Verb, Names: o.Services})
}

// power shuts the machine down.
func (s *Server) power(verb string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { s.do(w, r, Request{Verb: verb}) }
}

// do answers when a request has been carried out, which takes as long as it takes.
func (s *Server) do(w http.ResponseWriter, r *http.Request, request Request) {
	request.Peer = CallerOf(r)
	if response := s.Handler.Control(r.Context(), request); response.Error != "" {
		fail(w, problemOf(response))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) differences(w http.ResponseWriter, r *http.Request) {
	response := s.Handler.Control(r.Context(), Request{Verb: Diff})
	if response.Error != "" {
		fail(w, problemOf(response))
		return
	}
	Reply(w, differences{append([]Difference{}, response.Changes...)})
}

type differences struct {
	Differences []Difference `json:"differences"`
}

// decode reads a body of JSON. It returns false when it has answered with a problem.
func decode(w http.ResponseWriter, r *http.Request, v any) bool {
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Now().Add(requestTime))
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, requestLimit))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(v)
	if err == nil {
		if _, more := decoder.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("more than one JSON value")
		}
	}
	if err != nil {
		w.Header().Set("Connection", "close")
		status := http.StatusBadRequest
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			status = http.StatusRequestEntityTooLarge
		}
		fail(w, problem{Status: status, Detail: fmt.Sprintf("cannot read the request: %v", err)})
		return false
	}
	_ = c.SetReadDeadline(time.Time{})
	return true
}

// flagOf returns the value of a Boolean parameter; one without a value is true.
func flagOf(q url.Values, name string) (bool, error) {
	if !q.Has(name) {
		return false, nil
	}
	if q.Get(name) == "" {
		return true, nil
	}
	value, err := strconv.ParseBool(q.Get(name))
	if err != nil {
		return false, fmt.Errorf("%s=%s is neither true nor false", name, q.Get(name))
	}
	return value, nil
}

// Reply sends v as JSON.
func Reply(w http.ResponseWriter, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		fail(w, problem{Status: http.StatusInternalServerError, Detail: err.Error()})
		return
	}
	Send(w, http.StatusOK, "application/json", append(text, '\n'))
}

// Fail sends a problem document.
func Fail(w http.ResponseWriter, status int, err error) {
	fail(w, problem{Status: status, Detail: err.Error()})
}

func fail(w http.ResponseWriter, p problem) { Send(w, p.Status, problemType, p.encode()) }

// Send sends a response as a whole.
func Send(w http.ResponseWriter, status int, media string, body []byte) {
	w.Header().Set("Content-Type", media)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // The client may have closed the connection.
}
