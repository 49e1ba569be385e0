package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/backoff"
	"keelson/runtime/peer"
)

// Limits of connections: in all, and of one process.
const (
	connectionLimit = 256
	processLimit    = 64
)

// acceptDelay is the pause after a failure for lack of memory, whose end causes no event.
const acceptDelay = 100 * time.Millisecond

// admission is a listener that admits a limited number of connections, of root and the own
// user only; for the gate also of its user. It answers the others itself, without waiting.
type admission struct {
	*net.UnixListener
	ctx  context.Context // of the server
	gate bool            // requests come from clients of the gate

	mu    sync.Mutex
	count map[int32]int // connections of each process
	all   int
}

func newAdmission(ctx context.Context, l *net.UnixListener, gate bool) *admission {
	return &admission{UnixListener: l, ctx: ctx, gate: gate, count: map[int32]int{}}
}

// trusts reports whether a user may connect.
func (a *admission) trusts(user uint32) bool {
	return user == 0 || int(user) == os.Geteuid() || a.gate && user == GateUser
}

// admitted is a connection that counts until it is closed.
type admitted struct {
	*net.UnixConn
	peer  credentials
	gate  bool // requests come from clients of the gate
	close func()
	file  attached
	out   progress
}

func (c *admitted) Read(p []byte) (int, error) { return c.file.read(c.UnixConn, p) }

func (c *admitted) Write(p []byte) (int, error) { return c.out.write(p) }

func (c *admitted) Close() error {
	defer c.close()
	return errors.Join(c.UnixConn.Close(), c.file.drop())
}

func (a *admission) Accept() (net.Conn, error) {
	for {
		conn, err := a.AcceptUnix()
		if errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.ENOBUFS) {
			if backoff.Wait(a.ctx, acceptDelay) {
				continue
			}
		}
		if err != nil {
			return nil, err // net/http waits and repeats after EMFILE and ENFILE.
		}
		client, err := peer.Of(conn)
		switch {
		case err != nil || !a.trusts(client.Uid):
			refuse(conn, problem{Status: http.StatusForbidden, Detail: "only root may use the control socket"})
		case !a.enter(client.Pid):
			refuse(conn, problem{Status: http.StatusServiceUnavailable,
				Detail: fmt.Sprintf("too many connections: at most %d of a process, %d in all", processLimit, connectionLimit)})
		default:
			c := &admitted{UnixConn: conn, peer: credentials(client), gate: a.gate, close: sync.OnceFunc(func() { a.leave(client.Pid) })}
			c.out.conn, c.out.queued = conn, queuedOf(conn)
			return c, nil
		}
	}
}

func (a *admission) enter(pid int32) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.all >= connectionLimit || a.count[pid] >= processLimit {
		return false
	}
	a.all++
	a.count[pid]++
	return true
}

func (a *admission) leave(pid int32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all--
	if a.count[pid]--; a.count[pid] == 0 {
		delete(a.count, pid)
	}
}

// refuse answers without a request. The buffer of the socket takes the answer; the
// deadline is for one that does not.
func refuse(conn *net.UnixConn, p problem) {
	defer conn.Close()
	body := p.encode()
	_ = conn.SetWriteDeadline(time.Now().Add(acceptDelay))
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		p.Status, http.StatusText(p.Status), problemType, len(body), body)
	// The client gets ECONNRESET in place of the answer if there is unread data at the end:
	// see unix_release_sock() in net/unix/af_unix.c.
	if raw, err := conn.SyscallConn(); err == nil {
		_ = raw.Read(func(fd uintptr) bool {
			_, _ = unix.Read(int(fd), make([]byte, headerLimit))
			return true // Does not wait.
		})
	}
}

// credentials are those of the process at the other end of a connection.
type credentials unix.Ucred

// String describes the process for people.
func (c credentials) String() string {
	who := fmt.Sprintf("user %d", c.Uid)
	if c.Pid == 0 { // It is in another PID namespace.
		return who
	}
	name, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(c.Pid), "comm"))
	if err != nil {
		return fmt.Sprintf("%s, process %d", who, c.Pid)
	}
	return fmt.Sprintf("%s, process %d (%s)", who, c.Pid, strings.TrimSpace(string(name)))
}
