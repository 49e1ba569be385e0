// Package runner is the protocol between a process of runc that runs one container after another, and the
// process that started it: messages on a socket that keeps their boundaries (SOCK_SEQPACKET, unix(7)).
//
// A request has the arguments of a `runc run`, the signal that may stop it, and the container's standard streams. The first answer says that the
// container is now being run, the second one how that ended. When the connection ends before the first, nothing
// has happened.
package runner

import (
	"encoding/json"
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"keelson/runtime/fdpass"
)

const (
	// Command is the only argument of a runc that is to serve requests.
	Command = "serve-runs"
	// Socket is its descriptor of the connection.
	Socket = 3
	// Limit is how many containers a process runs. Of each, 40 KB remain in memory: upstream's handler of signals.
	Limit = 32
	// maxRequest and maxReply are the greatest sizes in bytes.
	maxRequest = 64 << 10
	maxReply   = 256
	// streams are the descriptors with each request: standard input, output and error.
	streams = 3
)

// ErrClosed means that the other end is gone.
var ErrClosed = errors.New("the connection has ended")

// Request asks for a container. Until the container gets the signal Stop, the process that is to run it ends by it.
type Request struct {
	Args []string       `json:"args"` // without the program's name
	Stop syscall.Signal `json:"stop"`
}

// Reply is an answer. Status is the exit status of the `runc run`, if Done.
type Reply struct {
	Done   bool `json:"done"`
	Status int  `json:"status,omitempty"`
}

// SendRequest sends a request and three descriptors. Nothing is sent if it is too large.
func SendRequest(socket int, r Request, files []int) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if len(data) > maxRequest {
		return fmt.Errorf("a request of %d bytes: at most %d", len(data), maxRequest)
	}
	if len(files) != streams {
		return fmt.Errorf("%d descriptors: want %d", len(files), streams)
	}
	return closed(fdpass.Send(socket, data, files, 0))
}

// ReceiveRequest waits for a request. The caller closes the descriptors.
func ReceiveRequest(socket int) (r Request, files []int, err error) {
	data, files, err := fdpass.Receive(socket, maxRequest, 0)
	if err != nil {
		return Request{}, nil, closed(err)
	}
	if r, err = parseRequest(data, len(files)); err != nil {
		fdpass.Close(files)
		return Request{}, nil, err
	}
	return r, files, nil
}

func parseRequest(data []byte, files int) (r Request, err error) {
	if len(data) == 0 {
		return Request{}, ErrClosed
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return Request{}, fmt.Errorf("a request that is none: %w", err)
	}
	if len(r.Args) == 0 || files != streams {
		return Request{}, fmt.Errorf("a request with %d arguments and %d descriptors: want at least one and %d", len(r.Args), files, streams)
	}
	if r.Stop < 1 || r.Stop > 64 {
		return Request{}, fmt.Errorf("a request with the stop signal %d", r.Stop)
	}
	return r, nil
}

// SendReply sends an answer.
func SendReply(socket int, r Reply) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return closed(fdpass.Send(socket, data, nil, 0))
}

// ReceiveReply waits for an answer.
func ReceiveReply(socket int) (Reply, error) {
	data, files, err := fdpass.Receive(socket, maxReply, 0)
	fdpass.Close(files)
	if err != nil {
		return Reply{}, closed(err)
	}
	return parseReply(data)
}

func parseReply(data []byte) (r Reply, err error) {
	if len(data) == 0 {
		return Reply{}, ErrClosed
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return Reply{}, fmt.Errorf("an answer that is none: %w", err)
	}
	if r.Status < 0 || r.Status > 255 {
		return Reply{}, fmt.Errorf("an answer with the exit status %d", r.Status)
	}
	return r, nil
}

// closed returns ErrClosed for the kernel's errors that say so.
func closed(err error) error {
	if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
		return ErrClosed
	}
	return err
}
