package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"keelson/runtime/timeline"
)

// Usage is what the kernel counts for the cgroup of a service. What it does not count is left out.
type Usage struct {
	Name           string   `json:"name"`
	CPUSeconds     *float64 `json:"cpuSeconds,omitempty"`  // processor time since the cgroup exists
	Memory         *float64 `json:"memory,omitempty"`      // bytes, with caches of files
	MemoryPeak     *float64 `json:"memoryPeak,omitempty"`  // bytes
	MemoryLimit    *float64 `json:"memoryLimit,omitempty"` // bytes
	Processes      *float64 `json:"processes,omitempty"`   // and threads
	ProcessesLimit *float64 `json:"processesLimit,omitempty"`
	OOMKills       *float64 `json:"oomKills,omitempty"`
}

// Usages is the usage of all services that have a cgroup, at one time.
type Usages struct {
	At       time.Duration `json:"at"`   // since the kernel started, in nanoseconds
	CPUs     int           `json:"cpus"` // processors that the supervisor may use
	Memory   *Memory       `json:"memory,omitempty"`
	Services []Usage       `json:"services"`
}

// Memory is that of the machine, in bytes.
type Memory struct {
	Total     int64 `json:"total"`
	Available int64 `json:"available"` // for programs, without swapping
}

// Boot is the timeline of the boot.
type Boot struct {
	Events []timeline.Event `json:"events"`
}

// Inspection is all that is known of the configuration of a service.
type Inspection struct {
	Name      string            `json:"name"`
	Bundle    string            `json:"bundle"`    // its folder
	Effective bool              `json:"effective"` // Config is what its container has; else it does not run, and Config is that of the bundle
	Settings  map[string]string `json:"settings"`  // all annotations keelson.*, with the defaults
	Config    map[string]any    `json:"config"`    // config.json of the OCI runtime specification
}

// ProgramsState is the state of keelson's own programs.
type ProgramsState struct {
	OnTrial bool     `json:"onTrial"`           // a swap of them is not committed yet
	Lasts   bool     `json:"lasts"`             // their versions are kept at a reboot
	Outcome *Outcome `json:"outcome,omitempty"` // how the last trial since the boot ended
}

// Outcome is how a trial of programs ended.
type Outcome struct {
	At        time.Time `json:"at"`
	Target    string    `json:"target"` // the version, or image
	Old       string    `json:"old"`    // the one before
	Committed bool      `json:"committed"`
	Reason    string    `json:"reason,omitempty"` // why it was not
}

// Sources answer requests that only read. They are called from several goroutines.
type Sources struct {
	Usages  func() (Usages, error)
	Boot    func() (Boot, error)
	Inspect func(name string) (Inspection, error) // ErrNotFound: there is no such service

	Programs func() (ProgramsState, error)
}

// ErrNotFound is returned for a service that does not exist.
var ErrNotFound = errors.New("no such service")

// Routes returns the operations for these sources.
func (s Sources) Routes() []Route {
	return []Route{
		{"GET", prefix + "/usage", Reader, nil, nil, Usages{}, false, answer(func(*http.Request) (Usages, error) { return s.Usages() })},
		{"GET", prefix + "/boot", Reader, nil, nil, Boot{}, false, answer(func(*http.Request) (Boot, error) { return s.Boot() })},
		{"GET", prefix + "/programs", Reader, nil, nil, ProgramsState{}, false, answer(func(*http.Request) (ProgramsState, error) { return s.Programs() })},
		// A configuration may have secrets in its environment.
		{"GET", prefix + "/services/{name}/config", Admin, nil, nil, Inspection{}, false, answer(func(r *http.Request) (Inspection, error) { return s.Inspect(r.PathValue("name")) })},
	}
}

// answer returns a handler that sends what f returns.
func answer[T any](f func(*http.Request) (T, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := f(r)
		switch {
		case errors.Is(err, ErrNotFound):
			Fail(w, http.StatusNotFound, err)
		case err != nil:
			Fail(w, http.StatusServiceUnavailable, err)
		default:
			Reply(w, v)
		}
	}
}

// Usages returns what the kernel counts for services.
func (c *Client) Usages(ctx context.Context) (u Usages, err error) {
	return u, c.get(ctx, "/usage", nil, &u)
}

// Programs returns the state of keelson's own programs.
func (c *Client) Programs(ctx context.Context) (s ProgramsState, err error) {
	return s, c.get(ctx, "/programs", nil, &s)
}

// Boot returns the timeline of the boot.
func (c *Client) Boot(ctx context.Context) (b Boot, err error) {
	return b, c.get(ctx, "/boot", nil, &b)
}

// Inspect returns the configuration of a service. The error is ErrNotFound if there is none.
func (c *Client) Inspect(ctx context.Context, name string) (i Inspection, err error) {
	return i, c.get(ctx, "/services/"+url.PathEscape(name)+"/config", nil, &i)
}

// SecurityPath is where the reports of services are, and NameParameter a parameter that selects services.
const (
	SecurityPath  = prefix + "/security"
	NameParameter = "name"
)

// Where the network is (package network), and what the network service would change.
const (
	NetworkPath     = prefix + "/network"
	NetworkPlanPath = NetworkPath + "/plan"
)

// Get reads a resource in JSON.
func (c *Client) Get(ctx context.Context, path string, q url.Values, into any) error {
	return c.get(ctx, strings.TrimPrefix(path, prefix), q, into)
}

// get reads a resource of version 1 of the API.
func (c *Client) get(ctx context.Context, path string, q url.Values, into any) error {
	answer, err := c.open(ctx, path, q, "application/json")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	decoder := json.NewDecoder(io.LimitReader(answer.Body, responseLimit))
	decoder.UseNumber() // Numbers of configurations have up to 64 bits.
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("cannot read the supervisor's answer: %w", err)
	}
	return nil
}

// open reads a resource of version 1 of the API of a media type. The caller closes the body.
func (c *Client) open(ctx context.Context, path string, q url.Values, media string) (*http.Response, error) {
	request, err := c.request(ctx, http.MethodGet, at(prefix+path, q), http.NoBody)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", media)
	answer, err := c.Transport.RoundTrip(request)
	if err != nil {
		return nil, explain(err, c.Where, nil)
	}
	if got, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type")); answer.StatusCode != http.StatusOK || got != media {
		defer answer.Body.Close()
		return nil, failure(answer)
	}
	return answer, nil
}

// failure returns the error of a response that is not what was asked for: a RefusedError if it is a
// problem.
func failure(answer *http.Response) error {
	if media, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type")); media != problemType {
		return fmt.Errorf("the supervisor answers with %s, %q", answer.Status, media)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, responseLimit))
	var p Response
	if err == nil {
		p, err = problemResponse(text)
	}
	if err != nil {
		return fmt.Errorf("cannot read the supervisor's answer: %w", err)
	}
	return &RefusedError{Detail: p.Error, Code: p.Code}
}

// RefusedError is the problem with which a request was answered. It is ErrNotFound if something
// does not exist.
type RefusedError struct {
	Detail string
	Code   int // exit status for the command line
}

func (e *RefusedError) Error() string { return e.Detail }

// Is is for errors.Is.
func (e *RefusedError) Is(target error) bool { return target == ErrNotFound && e.Code == CodeNotFound }
