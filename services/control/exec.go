package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/coder/websocket"
)

// ExecProtocol is the subprotocol of the WebSocket of an exec. Each message is binary; its first byte
// is a channel, after those of Kubernetes' remote commands.
const ExecProtocol = "exec.v1.keelson"

// Channels of an exec.
const (
	ExecStdin  = 0 // from the client: input; without data: its end
	ExecStdout = 1
	ExecStderr = 2
	ExecStatus = 3 // the end: an ExecResult in JSON
	ExecResize = 4 // from the client: a TerminalSize in JSON
)

// ExecMessage is the largest message of an exec, in bytes.
const ExecMessage = 32<<10 + 1

// Container is where a service runs.
type Container struct {
	Service   string `json:"service"`
	Namespace string `json:"namespace"` // of containerd
	ID        string `json:"id"`
	PID       int    `json:"pid"`               // its first process
	Machine   bool   `json:"machine,omitempty"` // it is the machine itself, with its devices
}

// ContainerHeader carries a Container in JSON to the process that serves an exec. The supervisor sets
// it.
const ContainerHeader = "Keelson-Container"

// Exec is a program to run in the container of a service. What is empty is as the service has it.
type Exec struct {
	Args     []string
	User     string   // NAME, UID, NAME:GROUP, …
	Dir      string   // working folder
	Env      []string // NAME=VALUE, in addition
	Stdin    bool     // it has input
	Terminal bool     // it has a terminal
	Size     TerminalSize
}

// TerminalSize is the size of a terminal in characters.
type TerminalSize struct {
	Width  uint16 `json:"width"`
	Height uint16 `json:"height"`
}

// ExecResult is how a program ended.
type ExecResult struct {
	Code  int    `json:"code"`            // exit code; 128+N after signal N; 126 and 127 if it could not be started
	Error string `json:"error,omitempty"` // why it could not be started or followed
}

// ExecStreams are the streams of a client.
type ExecStreams struct {
	In       io.Reader // read if Exec.Stdin is set
	Out, Err io.Writer
	Resize   <-chan TerminalSize // nil: the size does not change
}

// WebSocket stands for a response that is a WebSocket.
type WebSocket struct{}

// execParameters are the names of the parameters of an Exec.
var execParameters = []string{"arg", "user", "dir", "env", "stdin", "terminal", "width", "height"}

// debugParameters are those of a Debug, and rescueParameters those for the machine.
var (
	rescueParameters = []string{"arg", "env", "stdin", "terminal", "width", "height"}
	debugParameters  = append(slices.Clone(rescueParameters), withParameter)
)

const withParameter = "with"

// Debug is a program of another bundle to run beside the container of a service, in its namespaces.
// The Exec has neither user nor folder. Without a program it is a shell: that of the rescue shell, or sh.
type Debug struct {
	Exec
	With string // the bundle; empty: that of the rescue shell
}

// ExecRoute returns the operation that runs programs in containers of services. handle runs them in
// another process; find returns the container of a service, or ErrNotFound.
func ExecRoute(find func(name string) (Container, error), handle http.HandlerFunc) Route {
	return programRoute("/services/{name}/exec", execParameters, find, handle)
}

// DebugRoute returns the operation that runs tools of another bundle beside containers of services.
func DebugRoute(find func(name string) (Container, error), handle http.HandlerFunc) Route {
	return programRoute("/services/{name}/debug", debugParameters, find, handle)
}

// RescueRoute returns the operation that runs the rescue shell, or another program of its bundle, on
// the machine. Its handler is that of DebugRoute.
func RescueRoute(machine Container, handle http.HandlerFunc) Route {
	return programRoute("/rescue", rescueParameters, func(string) (Container, error) { return machine, nil }, handle)
}

func programRoute(path string, parameters []string, find func(name string) (Container, error), handle http.HandlerFunc) Route {
	return Route{"GET", prefix + path, Admin, parameters, nil, WebSocket{}, false, func(w http.ResponseWriter, r *http.Request) {
		container, err := find(r.PathValue("name"))
		if err != nil {
			status := http.StatusConflict
			if errors.Is(err, ErrNotFound) {
				status = http.StatusNotFound
			}
			Fail(w, status, err)
			return
		}
		text, err := json.Marshal(container)
		if err != nil {
			Fail(w, http.StatusInternalServerError, err)
			return
		}
		r.Header.Set(ContainerHeader, string(text))
		handle(w, r)
	}}
}

// ParseExec reads the parameters of a request.
func ParseExec(q url.Values) (e Exec, err error) {
	if e, err = parseProgram(q); len(e.Args) == 0 {
		err = errors.Join(errNoProgram, err)
	}
	return e, err
}

var errNoProgram = errors.New("arg: no program is named")

func parseProgram(q url.Values) (e Exec, err error) {
	e = Exec{Args: q["arg"], User: q.Get("user"), Dir: q.Get("dir"), Env: q["env"]}
	var errs [4]error
	e.Stdin, errs[0] = flagOf(q, "stdin")
	e.Terminal, errs[1] = flagOf(q, "terminal")
	e.Size.Width, errs[2] = sizeOf(q, "width")
	e.Size.Height, errs[3] = sizeOf(q, "height")
	if len(e.Args) > 0 && e.Args[0] == "" {
		return e, errNoProgram
	}
	return e, errors.Join(errs[:]...)
}

// ParseDebug reads the parameters of a request.
func ParseDebug(q url.Values) (Debug, error) {
	e, err := parseProgram(q)
	return Debug{Exec: e, With: q.Get(withParameter)}, err
}

func sizeOf(q url.Values, name string) (uint16, error) {
	if q.Get(name) == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(q.Get(name), 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%s=%.64s is no size of a terminal", name, q.Get(name))
	}
	return uint16(n), nil
}

func (e Exec) values() url.Values {
	v := url.Values{"arg": e.Args, "env": e.Env, "stdin": {strconv.FormatBool(e.Stdin)}, "terminal": {strconv.FormatBool(e.Terminal)}}
	for name, text := range map[string]string{"user": e.User, "dir": e.Dir} {
		if text != "" {
			v.Set(name, text)
		}
	}
	if e.Size != (TerminalSize{}) {
		v.Set("width", fmt.Sprint(e.Size.Width))
		v.Set("height", fmt.Sprint(e.Size.Height))
	}
	return v
}

// Exec runs a program in the container of a service, and returns how it ended. When ctx ends, so does
// the program. A read of the input may go on when Exec returns.
func (c *Client) Exec(ctx context.Context, service string, e Exec, s ExecStreams) (ExecResult, error) {
	return c.run(ctx, at(prefix+"/services/"+url.PathEscape(service)+"/exec", e.values()), e, s)
}

// Debug does the same with a program of another bundle.
func (c *Client) Debug(ctx context.Context, service string, d Debug, s ExecStreams) (ExecResult, error) {
	q := d.values()
	if d.With != "" {
		q.Set(withParameter, d.With)
	}
	return c.run(ctx, at(prefix+"/services/"+url.PathEscape(service)+"/debug", q), d.Exec, s)
}

// Rescue runs a program of the rescue shell's bundle on the machine; without a program, the shell.
func (c *Client) Rescue(ctx context.Context, e Exec, s ExecStreams) (ExecResult, error) {
	return c.run(ctx, at(prefix+"/rescue", e.values()), e, s)
}

// run asks for a program at a path, and connects it with the streams.
func (c *Client) run(ctx context.Context, target string, e Exec, s ExecStreams) (ExecResult, error) {
	conn, answer, err := websocket.Dial(ctx, c.URL+target, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: c.Transport}, Subprotocols: []string{ExecProtocol},
	})
	if err != nil && answer != nil && answer.StatusCode != http.StatusSwitchingProtocols {
		return ExecResult{}, failure(answer)
	}
	if err != nil {
		return ExecResult{}, explain(errors.Unwrap(err), c.Where, nil)
	}
	defer conn.CloseNow()
	conn.SetReadLimit(ExecMessage)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if e.Stdin {
		go sendInput(ctx, conn, s.In)
	}
	go sendSizes(ctx, conn, s.Resize)
	for {
		_, message, err := conn.Read(ctx)
		if err != nil {
			return ExecResult{}, fmt.Errorf("the connection to the program is lost: %w", err)
		}
		if len(message) == 0 {
			continue
		}
		switch data := message[1:]; message[0] {
		case ExecStdout:
			_, err = s.Out.Write(data)
		case ExecStderr:
			_, err = s.Err.Write(data)
		case ExecStatus:
			var result ExecResult
			if err := json.Unmarshal(data, &result); err != nil {
				return result, fmt.Errorf("cannot read how the program ended: %w", err)
			}
			_ = conn.Close(websocket.StatusNormalClosure, "")
			return result, nil
		}
		if err != nil {
			return ExecResult{}, fmt.Errorf("cannot write the output of the program: %w", err)
		}
	}
}

// sendInput sends input until it ends.
func sendInput(ctx context.Context, conn *websocket.Conn, in io.Reader) {
	buffer := make([]byte, ExecMessage)
	buffer[0] = ExecStdin
	for {
		n, err := in.Read(buffer[1:])
		if n > 0 && conn.Write(ctx, websocket.MessageBinary, buffer[:1+n]) != nil {
			return
		}
		if err != nil {
			_ = conn.Write(ctx, websocket.MessageBinary, buffer[:1]) // The connection may have ended.
			return
		}
	}
}

func sendSizes(ctx context.Context, conn *websocket.Conn, sizes <-chan TerminalSize) {
	for {
		select {
		case size := <-sizes:
			text, err := json.Marshal(size)
			if err != nil || conn.Write(ctx, websocket.MessageBinary, append([]byte{ExecResize}, text...)) != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}
