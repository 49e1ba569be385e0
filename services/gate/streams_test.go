package gate_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/services/control"
	"keelson/services/events"
	"keelson/services/gate/keys"
	"keelson/services/gate/serial"
)

// Events arrive while the stream is open.
func TestEvents(t *testing.T) {
	w := newWorld(t, ok)
	answer, err := w.events(t, "rita")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	for i := range 3 {
		name := fmt.Sprintf("service%d", i)
		w.journal.Append(events.Event{Kind: "service", Name: name, To: "running"})
		var got string
		buf := make([]byte, 4096)
		for !strings.Contains(got, name) {
			n, err := answer.Body.Read(buf)
			if got += string(buf[:n]); err != nil {
				t.Fatalf("%q: %v", got, err)
			}
		}
	}
}

func (w *world) events(t *testing.T, name string) (*http.Response, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url("/v1/events"), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	return client(w.config(t, name)).Do(r)
}

// A stream ends when the certificate of its client does.
func TestStreamEndsWithCertificate(t *testing.T) {
	w := newWorld(t, ok)
	for valid := 2 * time.Second; ; valid *= 2 { // Until the certificate lives long enough for a handshake.
		if err := w.authority.Client("brief", control.Reader, valid, ""); err != nil {
			t.Fatal(err)
		}
		answer, err := w.events(t, "brief")
		if err == nil && answer.StatusCode != http.StatusOK {
			answer.Body.Close()
			err = errors.New(answer.Status)
		}
		if err != nil && valid < time.Hour {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		return
	}
}

// An artifact is sent as it comes, while its progress is received; and not at all when it is refused.
func TestSwap(t *testing.T) {
	received := make(chan string, 1)
	next := make(chan struct{})
	w := newWorld(t, func(_ context.Context, r control.Request) control.Response {
		buf := make([]byte, 5)
		_, err := io.ReadFull(r.Body, buf)
		r.Progress("reading")
		<-next
		rest, err2 := io.ReadAll(r.Body)
		received <- fmt.Sprint(string(buf), string(rest), err, err2)
		return control.Response{}
	})
	body, in := io.Pipe()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url("/v1/services/a/swap"), body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Expect", "100-continue")
	go func() { _, _ = io.WriteString(in, "first") }()
	answer, err := client(w.config(t, "anna")).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	got := make([]byte, 15)
	if _, err := io.ReadFull(answer.Body, got); err != nil || string(got) != "event: progress" {
		t.Fatalf("%q, %v", got, err)
	}
	close(next)
	go func() {
		_, _ = in.Write(bytes.Repeat([]byte("x"), 1<<20))
		in.Close()
	}()
	if text, err := io.ReadAll(answer.Body); err != nil || !strings.Contains(string(text), "event: result") {
		t.Errorf("%s, %v", text, err)
	}
	if got := <-received; got != "first"+strings.Repeat("x", 1<<20)+"<nil><nil>" && got != "first"+strings.Repeat("x", 1<<20)+"<nil> <nil>" {
		t.Errorf("the supervisor received %.50q…", got)
	}
	refused, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url("/v1/services/a/swap"), unread{t})
	if err != nil {
		t.Fatal(err)
	}
	refused.Header.Set("Expect", "100-continue")
	answer, err = client(w.config(t, "olga")).Do(refused)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusForbidden {
		t.Error(answer.Status)
	}
}

// unread is a body that must not be sent.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body is sent")
	return 0, io.EOF
}

// A connection that is taken over by another protocol passes both ways, over TCP and over a serial
// port, also what is sent just before its end.
func TestUpgrade(t *testing.T) {
	const last = "the last words"
	w := newWorld(t, ok, control.Route{Method: "GET", Path: "/v1/echo", Role: control.Admin, Answer: control.Text{}, Handle: func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "echo")
		w.WriteHeader(http.StatusSwitchingProtocols)
		conn, both, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.CopyN(conn, both, 15)
		_, _ = io.WriteString(conn, last)
	}})
	for _, dial := range []func() net.Conn{w.dialTCP(t), w.dialSerial(t)} {
		for range 5 {
			config := w.config(t, "anna")
			config.ServerName = keys.ServerName
			conn := tls.Client(dial(), config)
			fmt.Fprintf(conn, "GET /v1/echo HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n", w.address)
			var head []byte
			for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
				b := make([]byte, 1)
				if _, err := conn.Read(b); err != nil {
					t.Fatalf("%q: %v", head, err)
				}
				head = append(head, b[0])
			}
			if !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) {
				t.Fatalf("%s", head)
			}
			for range 3 {
				if _, err := io.WriteString(conn, "hello"); err != nil {
					t.Fatal(err)
				}
				got := make([]byte, 5)
				if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello" {
					t.Fatalf("%q, %v", got, err)
				}
			}
			if rest, err := io.ReadAll(conn); err != nil || string(rest) != last {
				t.Errorf("%q, %v", rest, err)
			}
			conn.Close()
		}
	}
	w.waitLog("msg=request client") // Written when the gate has noticed the end.
	if log := w.log.String(); !strings.Contains(log, "request begins") || !strings.Contains(log, "status=101") {
		t.Error(log)
	}
}

func (w *world) dialTCP(t *testing.T) func() net.Conn {
	return func() net.Conn {
		conn, err := net.Dial("tcp", w.address)
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
}

// dialSerial starts a gate at one end of a socket, which stands for a port, and returns a function
// that opens connections in a session.
func (w *world) dialSerial(t *testing.T) func() net.Conn {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	l, err := serial.NewListener(os.NewFile(uintptr(fds[0]), "near"), "test")
	if err != nil {
		t.Fatal(err)
	}
	var s *serial.Session
	t.Cleanup(func() { // After the end of the gate, for which a reset is an error of the port.
		if s != nil {
			_ = s.Close()
		}
	})
	w.gate(t, w.socket, l)
	f := os.NewFile(uintptr(fds[1]), "far")
	far, err := net.FileConn(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	if s, err = serial.Dial(t.Context(), far); err != nil {
		t.Fatal(err)
	}
	return func() net.Conn {
		conn, err := s.Open()
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
}
