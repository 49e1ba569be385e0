package session

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"

	"keelson/runtime/paths"
	"keelson/services/control"
)

// Limit is how many sessions of a Starter there are at a time.
const Limit = 16

// bufferedLimit is the largest part of a stream that may follow a request immediately, in bytes.
const bufferedLimit = 4 << 10

// callerKey is the variable of the environment that says who has sent the request.
const callerKey = "KEELSON_CALLER"

// Starter starts processes of sessions. It may be used by several goroutines.
type Starter struct {
	program []string
	log     *slog.Logger
	slots   chan struct{}
}

// NewStarter returns a starter. The arguments are a program and its arguments, to which the name of
// the operation is appended; without them, it is the session role of this program.
func NewStarter(log *slog.Logger, program ...string) *Starter {
	if len(program) == 0 {
		program = []string{paths.Service, "session"}
	}
	return &Starter{program, log, make(chan struct{}, Limit)}
}

// Handler returns the handler of an operation: it starts a process for each request.
func (s *Starter) Handler(operation string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
		default:
			control.Fail(w, http.StatusServiceUnavailable, fmt.Errorf("there are %d sessions, which is the limit", cap(s.slots)))
			return
		}
		if err := s.run(w, r, operation); err != nil {
			s.log.Error("cannot serve a request in a process of its own", "operation", operation, "error", err)
		}
	}
}

// filer is a connection of which the kernel has a descriptor.
type filer interface{ File() (*os.File, error) }

// run hands a request over, and waits until the process has ended. The connection counts until
// then.
func (s *Starter) run(w http.ResponseWriter, r *http.Request, operation string) error {
	caller := control.CallerOf(r)
	conn, stream, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return err
	}
	defer conn.Close()
	f, ok := conn.(filer)
	if !ok {
		return fmt.Errorf("a connection of type %T has no descriptor", conn)
	}
	socket, err := f.File()
	if err != nil {
		return err
	}
	defer socket.Close()
	var request bytes.Buffer
	if err := r.Write(&request); err != nil {
		return err
	}
	if n := stream.Reader.Buffered(); n > bufferedLimit {
		return fmt.Errorf("the client has sent %d bytes before it was answered", n)
	} else if n > 0 {
		early, _ := stream.Reader.Peek(n) // They are in memory.
		request.Write(early)
	}
	command := exec.Command(s.program[0], append(s.program[1:len(s.program):len(s.program)], operation)...)
	command.Env = []string{"PATH=" + os.Getenv("PATH"), callerKey + "=" + caller}
	command.Dir = "/"
	command.Stdin, command.ExtraFiles = &request, []*os.File{socket}
	var diagnosis tail
	command.Stderr = &diagnosis
	err = command.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, diagnosis.text)
	}
	return err
}

// tail keeps the end of a text.
type tail struct{ text []byte }

const tailSize = 2 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-tailSize):]
	return len(p), nil
}
