package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tmaxmax/go-sse"
)

// responseLimit is the largest response, or event, in bytes.
const responseLimit = 64 << 20

// errTakesNoFile is returned when the supervisor cannot read the file of a request itself.
var errTakesNoFile = errors.New("the supervisor takes no file")

// Client sends requests to a supervisor, over its socket or through a gate. Its methods may be
// called from several goroutines.
type Client struct {
	Transport http.RoundTripper // carries requests; Unix returns a client with one for a socket
	URL       string            // scheme and host of the API, such as https://machine:1234
	Where     string            // where that is, for messages

	socket string // over which files can be passed; empty: none can
}

// Unix returns a client of the supervisor that listens on a socket.
func Unix(socket string) *Client {
	return &Client{Transport: transport(socket), URL: "http://keelson", Where: socket, socket: socket}
}

// Call sends a request to the supervisor and waits for its response. A Body that is a regular
// file, of which nothing has been read, is read by the supervisor itself if it can.
func (c *Client) Call(ctx context.Context, r Request) (Response, error) {
	if file := fileOf(r); file != nil && c.socket != "" {
		response, err := c.call(ctx, r, file)
		if !errors.Is(err, errTakesNoFile) {
			return response, err
		}
	}
	return c.call(ctx, r, nil)
}

// call sends a request, with a file in place of its body if there is one.
func (c *Client) call(ctx context.Context, r Request, file *os.File) (Response, error) {
	method, target, body, err := operation(r)
	if err != nil {
		return Response{}, err
	}
	var source *failing
	if r.Verb == Swap && r.Body != nil && file == nil {
		source = &failing{Reader: r.Body}
		body = source
	}
	request, err := c.request(ctx, method, target, body)
	if err != nil {
		return Response{}, err
	}
	request.Header.Set("Accept", "application/json, "+eventsType)
	if source != nil {
		request.Header.Set("Content-Type", "application/octet-stream")
		request.Header.Set("Expect", "100-continue") // The supervisor may refuse before it reads.
	}
	carrier := c.Transport
	if file != nil {
		request.Header.Set(artifactHeader, artifactFile)
		carrier = transportWith(c.socket, file)
	}
	answer, err := carrier.RoundTrip(request)
	if err != nil {
		return Response{}, explain(err, c.Where, source)
	}
	defer answer.Body.Close()
	if file != nil && answer.StatusCode == http.StatusUnsupportedMediaType {
		return Response{}, errTakesNoFile
	}
	response, err := receive(answer, r)
	if err != nil && ctx.Err() == nil {
		return response, fmt.Errorf("the supervisor ended without an answer: %w", err)
	}
	return response, err
}

// request returns a request for an operation of the API.
func (c *Client) request(ctx context.Context, method, target string, body io.Reader) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.URL+target, body)
	if err != nil {
		return nil, fmt.Errorf("cannot make a request to the supervisor: %w", err)
	}
	return request, nil
}

// transport connects to the socket, whatever the host of a URL is.
func transport(socket string) *http.Transport { return transportWith(socket, nil) }

// transportWith is transport, and sends the descriptor of a file with the first bytes.
func transportWith(socket string, file *os.File) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			conn, err := d.DialContext(ctx, "unix", socket)
			if err != nil {
				return nil, err
			}
			return &clientConn{conn.(*net.UnixConn), file}, nil
		},
		DisableKeepAlives:     true,
		DisableCompression:    true,
		ExpectContinueTimeout: time.Minute,
	}
}

// explain returns why there is no response.
func explain(err error, where string, source *failing) error {
	if source != nil {
		if failed := source.err.Load(); failed != nil {
			return fmt.Errorf("cannot read what is to be sent: %w", *failed)
		}
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "dial" {
		return fmt.Errorf("cannot reach the supervisor at %s: %w", where, err)
	}
	return fmt.Errorf("the supervisor ended without an answer: %w", err)
}

// operation returns the operation of the API that carries out a request.
func operation(r Request) (method, target string, body io.Reader, err error) {
	switch r.Verb {
	case List:
		return http.MethodGet, at(prefix+"/services", url.Values{"name": r.Names}), nil, nil
	case Diff:
		return http.MethodGet, at(prefix+"/differences", nil), nil, nil
	case PowerOff, Reboot, Halt:
		return http.MethodPost, at(prefix+"/machine/"+r.Verb, nil), nil, nil
	case Kill:
		if len(r.Names) != 1 {
			return "", "", nil, fmt.Errorf("cannot signal %d services: name one", len(r.Names))
		}
		return http.MethodPost, at(prefix+"/services/"+url.PathEscape(r.Names[0])+"/kill", url.Values{"signal": {r.Signal}}), nil, nil
	case Start, Stop, Restart:
		text, err := json.Marshal(order{r.Verb, r.Names})
		return http.MethodPost, at(prefix+"/orders", nil), bytes.NewReader(text), err
	case Swap, Rollback, Remove:
		if r.Programs {
			return http.MethodPost, at(prefix+"/programs/"+r.Verb, query(r)), nil, nil
		}
		if len(r.Names) != 1 {
			return "", "", nil, fmt.Errorf("cannot %s %d services: name one", r.Verb, len(r.Names))
		}
		return http.MethodPost, at(prefix+"/services/"+url.PathEscape(r.Names[0])+"/"+r.Verb, query(r)), nil, nil
	}
	return "", "", nil, fmt.Errorf("the control API has no request %q", r.Verb)
}

func query(r Request) url.Values {
	q := url.Values{}
	if r.Plan {
		q.Set("plan", "true")
	}
	if r.Force {
		q.Set("force", "true")
	}
	if r.Probation != 0 {
		q.Set("probation", r.Probation.String())
	}
	return q
}

// at returns the path and the parameters of a request.
func at(path string, q url.Values) string { return path + "?" + q.Encode() }

// receive reads a response.
func receive(answer *http.Response, r Request) (Response, error) {
	media, _, err := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	if err != nil && answer.StatusCode != http.StatusNoContent {
		return Response{}, fmt.Errorf("a response without a type: %s", answer.Status)
	}
	if media == eventsType {
		return follow(answer.Body, r.Progress)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, responseLimit))
	if err != nil {
		return Response{}, err
	}
	if answer.StatusCode == http.StatusNoContent {
		return Response{}, nil
	}
	if media == problemType {
		return problemResponse(text)
	}
	var all struct {
		services
		differences
		result
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return Response{}, err
	}
	response := Response{Services: all.Services, Changes: all.Differences, Plan: all.Plan, Note: all.Note}
	notRunning := func(s Service) bool { return s.State != Running }
	if r.Verb == List && len(r.Names) > 0 && slices.ContainsFunc(all.Services, notRunning) {
		response.Code = CodeNotRunning
	}
	return response, nil
}

func problemResponse(text []byte) (Response, error) {
	var p problem
	if err := json.Unmarshal(text, &p); err != nil {
		return Response{}, err
	}
	return Response{Error: strings.TrimSpace(p.Detail), Code: p.code(), Plan: p.Plan, Changes: p.Changes}, nil
}

// follow passes progress on, until the event with the result.
func follow(body io.Reader, progress func(string)) (Response, error) {
	for event, err := range sse.Read(body, &sse.ReadConfig{MaxEventSize: responseLimit}) {
		if err != nil {
			return Response{}, err
		}
		switch event.Type {
		case problemEvent:
			return problemResponse([]byte(event.Data))
		case resultEvent:
			var r result
			err := json.Unmarshal([]byte(event.Data), &r)
			return Response{Plan: r.Plan, Note: r.Note}, err
		case progressEvent:
			var p progressData
			if err := json.Unmarshal([]byte(event.Data), &p); err != nil {
				return Response{}, err
			}
			if progress != nil {
				progress(p.Text)
			}
		}
	}
	return Response{}, io.ErrUnexpectedEOF
}

// failing remembers the error of a reader, which the transport reads in a goroutine of its own.
type failing struct {
	io.Reader
	err atomic.Pointer[error]
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		f.err.Store(&err)
	}
	return n, err
}
