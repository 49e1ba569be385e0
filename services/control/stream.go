package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// bodyTime is how long a client that sends a body may send nothing.
const bodyTime = time.Minute

// body returns what follows the line of a request.
func body(ctx context.Context, decoder *json.Decoder, conn net.Conn) io.Reader {
	return &lineRest{io.MultiReader(decoder.Buffered(), patient{conn, ctx}), false}
}

// lineRest leaves out the newline that ends the request.
type lineRest struct {
	io.Reader
	begun bool
}

func (l *lineRest) Read(p []byte) (int, error) {
	if !l.begun {
		var first [1]byte
		n, err := io.ReadFull(l.Reader, first[:])
		if err != nil {
			return n, err
		}
		l.begun = true
		if first[0] != '\n' {
			l.Reader = io.MultiReader(strings.NewReader(string(first[:])), l.Reader)
		}
	}
	return l.Reader.Read(p)
}

// patient reads from a connection whose client may pause.
type patient struct {
	net.Conn
	ctx context.Context
}

func (c patient) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(bodyTime)); err != nil {
		return 0, err
	}
	if err := c.ctx.Err(); err != nil { // Its end has set another deadline before.
		return 0, err
	}
	n, err := c.Conn.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("the client has sent nothing for %v", bodyTime)
	}
	return n, err
}

// peer describes the process at the other end of a connection (SO_PEERCRED of unix(7)).
func peer(conn net.Conn) string {
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return ""
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return ""
	}
	var cred *unix.Ucred
	if raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }) != nil || err != nil {
		return ""
	}
	who := fmt.Sprintf("user %d", cred.Uid)
	if cred.Pid == 0 { // It is in another PID namespace.
		return who
	}
	name, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(cred.Pid), "comm"))
	if err != nil {
		return fmt.Sprintf("%s, process %d", who, cred.Pid)
	}
	return fmt.Sprintf("%s, process %d (%s)", who, cred.Pid, strings.TrimSpace(string(name)))
}

// CallWith is Call with a body, and a function that receives the progress. Either may be
// nil.
func CallWith(ctx context.Context, socket string, r Request, body io.Reader, progress func(string)) (Response, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return Response{}, fmt.Errorf("cannot reach the supervisor at %s: %w", socket, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := json.NewEncoder(conn).Encode(r); err != nil {
		return Response{}, fmt.Errorf("cannot send a request to the supervisor: %w", err)
	}
	unread := make(chan error, 1)
	go sendBody(conn, body, unread)
	decoder := json.NewDecoder(conn)
	for {
		var response Response
		if err := decoder.Decode(&response); err != nil {
			select {
			case err := <-unread:
				return Response{}, err
			default:
				return Response{}, fmt.Errorf("the supervisor ended without an answer: %w", err)
			}
		}
		if response.Progress == "" {
			return response, nil
		}
		if progress != nil {
			progress(response.Progress)
		}
	}
}

// sendBody sends a body and marks its end. An error of its source is sent to unread, and
// closes the connection.
func sendBody(conn net.Conn, body io.Reader, unread chan<- error) {
	if body == nil {
		return
	}
	source := &failing{Reader: body}
	if _, err := io.Copy(conn, source); err != nil {
		if source.err != nil {
			unread <- fmt.Errorf("cannot read what is to be sent: %w", source.err)
			conn.Close()
		}
		return // Or the supervisor has stopped reading, and answers why.
	}
	if c, ok := conn.(*net.UnixConn); ok {
		_ = c.CloseWrite()
	}
}

// failing remembers the error of a reader.
type failing struct {
	io.Reader
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		f.err = err
	}
	return n, err
}
