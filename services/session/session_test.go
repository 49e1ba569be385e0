package session

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"keelson/services/control"
)

// TestMain is the process of a session as well.
func TestMain(m *testing.M) {
	if len(os.Args) != 3 || os.Args[1] != "session" {
		os.Exit(m.Run())
	}
	if err := Serve(context.Background(), handlers[os.Args[2]]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var handlers = map[string]http.HandlerFunc{
	"echo": func(w http.ResponseWriter, r *http.Request) {
		score, _ := os.ReadFile("/proc/self/oom_score_adj")
		fmt.Fprintf(w, "%s %s %q by %s, %s, %d", r.Method, r.URL, r.Header.Get("X"), Caller(), bytes.TrimSpace(score), len(os.Environ()))
	},
	// waits for the end of the client, and connects to a socket then.
	"wait": func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		if conn, err := net.Dial("unix", r.URL.Query().Get("file")); err == nil {
			conn.Close()
		}
	},
	"upgrade": func(w http.ResponseWriter, _ *http.Request) {
		conn, stream, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_, _ = io.Copy(conn, stream.Reader)
	},
	// takes the connection over, and waits without reading.
	"hold": func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		<-r.Context().Done()
		if conn, err := net.Dial("unix", r.URL.Query().Get("file")); err == nil {
			conn.Close()
		}
	},
	"panic": func(http.ResponseWriter, *http.Request) { os.Exit(3) },
}

// limit is how many sessions there are at a time in these tests.
const limit = 3

// serve serves an operation for each handler.
func serve(t *testing.T) (socket string, log *lockedBuffer) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log = &lockedBuffer{}
	starter := NewStarter(slog.New(slog.NewTextHandler(log, nil)), self, "session")
	starter.slots = make(chan struct{}, limit)
	server := &control.Server{Handler: nobody{}}
	for name := range handlers {
		server.More = append(server.More, control.Route{Method: "GET", Path: "/" + name, Role: control.Reader, Query: []string{"q", "file"}, Handle: starter.Handler(name)})
	}
	socket = filepath.Join(t.TempDir(), "s")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, socket) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			conn.Close()
			return socket, log
		}
	}
}

type nobody struct{}

func (nobody) Control(context.Context, control.Request) control.Response { return control.Response{} }

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// ask sends a request and returns the connection and the header of the response.
func ask(t *testing.T, socket, target string, header ...string) (net.Conn, *bufio.Reader, *http.Response) {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	lines := append([]string{"GET " + target + " HTTP/1.1", "Host: keelson"}, header...)
	if _, err := io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	response, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatalf("%s: %v", target, err)
	}
	return conn, r, response
}

// A process gets the request as it was sent, and says who has sent it.
func TestRequest(t *testing.T) {
	socket, log := serve(t)
	_, _, response := ask(t, socket, "/echo?q=%20%26x", "X: y z")
	text, err := io.ReadAll(response.Body)
	want := fmt.Sprintf(`GET /echo?q=%%20%%26x "y z" by user %d, process %d`, os.Getuid(), os.Getpid())
	if err != nil || !strings.HasPrefix(string(text), want) || !strings.HasSuffix(string(text), ", 0, 2") {
		t.Errorf("%s, %v, want %s…", text, err, want)
	}
	if log.String() != "" {
		t.Error(log)
	}
}

// A handler knows that the client has gone, and ends what it has begun.
func TestClientGoes(t *testing.T) {
	socket, _ := serve(t)
	file := filepath.Join(t.TempDir(), "gone")
	l, err := net.Listen("unix", file)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, _, _ := ask(t, socket, "/wait?file="+file)
	conn.Close()
	gone, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
}

// A connection can be upgraded; what the client sends then arrives, also if it does not wait.
func TestUpgrade(t *testing.T) {
	socket, _ := serve(t)
	conn, r, response := ask(t, socket, "/upgrade", "Connection: Upgrade", "Upgrade: echo", "", "early")
	if response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(response.Status)
	}
	if _, err := io.WriteString(conn, "late"); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(r); err != nil || string(text) != "early\r\n\r\nlate" {
		t.Errorf("%q, %v", text, err)
	}
}

// There is a limit, and a session that ends makes room. One that fails is logged and ends its
// connection.
func TestLimit(t *testing.T) {
	socket, log := serve(t)
	var open []net.Conn
	for range limit {
		conn, _, response := ask(t, socket, "/wait")
		if response.StatusCode != http.StatusOK {
			t.Fatal(response.Status)
		}
		open = append(open, conn)
	}
	if _, _, response := ask(t, socket, "/echo"); response.StatusCode != http.StatusServiceUnavailable {
		t.Error(response.Status)
	}
	open[0].Close()
	for {
		conn, _, response := ask(t, socket, "/echo")
		conn.Close()
		if response.StatusCode == http.StatusOK {
			break
		}
	}
	open[1].Close()
	for !strings.Contains(log.String(), "exit status 3") {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "GET /panic HTTP/1.1\r\nHost: keelson\r\nConnection: close\r\n\r\n")
		_, _ = io.ReadAll(conn) // It ends without an answer, or with 503.
		conn.Close()
	}
}
