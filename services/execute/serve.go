package execute

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/coder/websocket"

	"keelson/services/containerd"
	"keelson/services/control"
)

// Exit codes of programs that could not be started, as shells have them.
const (
	notExecutable = 126
	notThere      = 127
)

// Handler runs a program for a client of the control API, in a process of its own: see package
// session. The program is killed when the context of the request ends, which is when the client has
// closed the connection.
func Handler(socket string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var container control.Container
		if err := json.Unmarshal([]byte(r.Header.Get(control.ContainerHeader)), &container); err != nil {
			control.Fail(w, http.StatusInternalServerError, fmt.Errorf("cannot read the container: %w", err))
			return
		}
		e, err := control.ParseExec(r.URL.Query())
		p := Process{Args: e.Args, Terminal: e.Terminal, Dir: e.Dir, Env: e.Env}
		if err == nil && e.User != "" {
			p.User, err = FindUser(filepath.Join("/proc", strconv.Itoa(container.PID), "root"), e.User)
		}
		if err != nil {
			control.Fail(w, http.StatusBadRequest, err)
			return
		}
		c, err := containerd.Connect(r.Context(), socket)
		if err != nil {
			control.Fail(w, http.StatusConflict, err)
			return
		}
		defer c.Close()
		Attach(w, r, e, func(ctx context.Context, streams Streams, sizes <-chan control.TerminalSize) (int, error) {
			streams.Started = func(c *containerd.Client, s containerd.ExecSpec) {
				if s.Terminal {
					go resize(ctx, c, s, sizes)
				}
			}
			s := containerd.ExecSpec{Namespace: container.Namespace, ID: container.ID, ExecID: "exec-" + rand.Text()}
			return Run(ctx, c, s, p, streams)
		})
	}
}

// Attach answers a request with a WebSocket, and connects the client with the program that run runs, until that
// has ended. The context of run ends when the client has gone; sizes has those of its terminal, the last
// one if several have come.
func Attach(w http.ResponseWriter, r *http.Request, e control.Exec, run func(ctx context.Context, streams Streams, sizes <-chan control.TerminalSize) (int, error)) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{control.ExecProtocol}})
	if err != nil {
		return // Accept has answered.
	}
	defer conn.CloseNow()
	conn.SetReadLimit(control.ExecMessage)
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	input, toInput := io.Pipe()
	defer input.Close()
	if !e.Stdin {
		input.Close()
	}
	sizes := make(chan control.TerminalSize, 1)
	sizes <- e.Size
	go func() { cancel(receive(ctx, conn, toInput, sizes)) }()
	streams := Streams{Out: &channel{ctx, conn, control.ExecStdout}, Err: &channel{ctx, conn, control.ExecStderr}}
	if e.Stdin {
		streams.In = input
	}
	code, err := run(ctx, streams, sizes)
	result := control.ExecResult{Code: code}
	if err != nil {
		result.Error = err.Error()
	}
	if failed := (*NotStartedError)(nil); errors.As(err, &failed) {
		result.Code = codeOf(failed)
	}
	text, err := json.Marshal(result)
	if err == nil && ctx.Err() == nil {
		_, _ = (&channel{ctx, conn, control.ExecStatus}).Write(text) // The client may have gone.
		_ = conn.Close(websocket.StatusNormalClosure, "")
	}
}

// codeOf returns the exit code that a shell would have. The runtime says why only in words.
func codeOf(err error) int {
	if text := err.Error(); strings.Contains(text, "executable file not found") || strings.Contains(text, "no such file or directory") {
		return notThere
	}
	return notExecutable
}

// receive passes on what the client sends, until the connection ends.
func receive(ctx context.Context, conn *websocket.Conn, input *io.PipeWriter, sizes chan control.TerminalSize) error {
	defer input.Close()
	for {
		kind, message, err := conn.Read(ctx)
		switch {
		case err != nil:
			return fmt.Errorf("the client has gone: %w", err)
		case kind != websocket.MessageBinary || len(message) == 0:
			return errors.New("a message of the client has no channel")
		case message[0] == control.ExecStdin && len(message) == 1:
			_ = input.Close()
		case message[0] == control.ExecStdin:
			_, _ = input.Write(message[1:]) // Nobody reads input that the process does not have, or has closed.
		case message[0] == control.ExecResize:
			var size control.TerminalSize
			if err := json.Unmarshal(message[1:], &size); err != nil {
				return fmt.Errorf("cannot read a size of the terminal: %w", err)
			}
			select {
			case <-sizes:
			default:
			}
			sizes <- size
		default:
			return fmt.Errorf("there is no channel %d", message[0])
		}
	}
}

// resize gives the terminal of a process the sizes that arrive.
func resize(ctx context.Context, c *containerd.Client, s containerd.ExecSpec, sizes <-chan control.TerminalSize) {
	for {
		select {
		case size := <-sizes:
			if size != (control.TerminalSize{}) {
				_ = c.Resize(ctx, s, int(size.Width), int(size.Height)) // The process may have ended.
			}
		case <-ctx.Done():
			return
		}
	}
}

// channel writes to a channel of the client.
type channel struct {
	ctx    context.Context
	conn   *websocket.Conn
	number byte
}

// writing has buffers for messages.
var writing = sync.Pool{New: func() any { b := make([]byte, 0, control.ExecMessage); return &b }}

func (c *channel) Write(p []byte) (n int, err error) {
	buffer, _ := writing.Get().(*[]byte)
	defer writing.Put(buffer)
	for len(p) > 0 {
		part := p[:min(len(p), control.ExecMessage-1)]
		message := append(append((*buffer)[:0], c.number), part...)
		if err := c.conn.Write(c.ctx, websocket.MessageBinary, message); err != nil {
			return n, err
		}
		n, p = n+len(part), p[len(part):]
	}
	return n, nil
}
