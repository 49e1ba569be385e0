package control

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"keelson/runtime/readfile"
)

// A client on the machine need not send an artifact: with the request, whose body is empty, it sends the
// descriptor of its open file (SCM_RIGHTS of unix(7)), which no program in between can forge or
// pass on by mistake. The header says that the request is about that file.
const (
	artifactHeader = "Keelson-Artifact"
	artifactFile   = "file"
)

// attached is the file that a client has sent with its last messages.
type attached struct {
	mu     sync.Mutex
	file   *os.File
	closed bool
	rights [unix.SizeofCmsghdr + 8]byte // for one descriptor; the kernel closes most of any others
}

// read reads from the connection, and keeps the last descriptor that arrives.
func (a *attached) read(conn *net.UnixConn, p []byte) (int, error) {
	if len(p) == 0 {
		return conn.Read(p)
	}
	n, rights, _, _, err := conn.ReadMsgUnix(p, a.rights[:])
	if rights > 0 {
		messages, _ := unix.ParseSocketControlMessage(a.rights[:rights]) // On an error, there are none.
		for i := range messages {
			files, _ := unix.ParseUnixRights(&messages[i])
			for _, fd := range files {
				a.keep(fd)
			}
		}
	}
	return max(n, 0), err // It is -1 on an error.
}

// keep keeps a descriptor in place of an earlier one.
func (a *attached) keep(fd int) {
	a.mu.Lock()
	old, file := a.file, os.NewFile(uintptr(fd), "the client's file")
	if a.closed {
		old, file = file, nil
	}
	a.file = file
	a.mu.Unlock()
	if old != nil {
		_ = old.Close()
	}
}

// take returns the file, or nil.
func (a *attached) take() (file *os.File) {
	a.mu.Lock()
	defer a.mu.Unlock()
	file, a.file = a.file, nil
	return file
}

// drop closes the file, and those to come.
func (a *attached) drop() error {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	if file := a.take(); file != nil {
		return file.Close()
	}
	return nil
}

// takeFile returns the file that a client has sent with a request, opened for reading only.
func takeFile(r *http.Request) (*os.File, error) {
	if kind := r.Header.Get(artifactHeader); kind != artifactFile {
		return nil, fmt.Errorf("%s: %.64q is not known", artifactHeader, kind)
	}
	if r.ContentLength != 0 {
		return nil, fmt.Errorf("a request with %s has no body", artifactHeader)
	}
	conn, _ := r.Context().Value(connKey{}).(*admitted)
	if conn == nil {
		return nil, errors.New("the connection has no descriptors")
	}
	sent := conn.file.take()
	if sent == nil {
		return nil, errors.New("no descriptor came with the request: send the artifact in its body")
	}
	defer sent.Close()
	file, err := readfile.Reopen(sent)
	if err != nil {
		return nil, fmt.Errorf("send the artifact in the body of the request: %w", err)
	}
	return file, nil
}

// clientConn is the connection of a client. It sends the descriptor of a file with its first bytes,
// if there is one. A supervisor that has answered before the end of a body may have closed the
// connection: what is written then is lost, and what is read, the answer, says why.
type clientConn struct {
	*net.UnixConn
	file *os.File // nil: there is none, or it has been sent
}

func (c *clientConn) Write(p []byte) (n int, err error) {
	n, err = c.write(p)
	if errors.Is(err, unix.EPIPE) {
		return len(p), nil
	}
	return n, err
}

func (c *clientConn) write(p []byte) (n int, err error) {
	if c.file == nil || len(p) == 0 {
		return c.UnixConn.Write(p)
	}
	raw, err := c.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	sendErr := raw.Control(func(fd uintptr) { n, _, err = c.WriteMsgUnix(p, unix.UnixRights(int(fd)), nil) })
	if err = errors.Join(err, sendErr); err != nil {
		return n, err
	}
	c.file = nil
	if n < len(p) {
		rest, err := c.UnixConn.Write(p[n:])
		return n + rest, err
	}
	return n, nil
}

// fileOf returns the file that is the artifact of a request, if the supervisor may be able to read
// it itself: a regular one of which nothing has been read.
func fileOf(r Request) *os.File {
	file, ok := r.Body.(*os.File)
	if !ok || r.Verb != Swap {
		return nil
	}
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	if at, err := file.Seek(0, io.SeekCurrent); err != nil || at != 0 {
		return nil
	}
	return file
}
