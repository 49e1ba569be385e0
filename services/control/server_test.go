package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A wrong request gets a problem document that says what is wrong, and does nothing.
func TestProblems(t *testing.T) {
	socket := serve(t, func(_ context.Context, r Request) Response {
		t.Errorf("%q was carried out", r.Verb)
		return Response{}
	})
	long := strings.Repeat("x", requestLimit)
	tests := []struct {
		method, path, body string
		status             int
		detail             string
	}{
		{"GET", "/", "", 404, "the API has no /"},
		{"GET", "/v1/nothing", "", 404, "the API has no /v1/nothing"},
		{"POST", "/v1/services", "", 405, "/v1/services takes GET"},
		{"GET", "/v1/services/a/start", "", 405, "/v1/services/a/start takes POST"},
		{"POST", "/v1/services/a/start", "{}", 400, "takes no body"},
		{"POST", "/v1/services/a/start?force=1", "", 400, `takes no parameter "force"`},
		{"GET", "/v1/services?names=a", "", 400, `takes no parameter "names"`},
		{"GET", "/v1/services?name=%zz", "", 400, "invalid URL escape"},
		{"POST", "/v1/orders", "", 400, "cannot read the request: EOF"},
		{"POST", "/v1/orders", "start redis", 400, "cannot read the request: invalid character 's'"},
		{"POST", "/v1/orders", `{"verb":"start"}`, 400, "services: names no service"},
		{"POST", "/v1/orders", `{"verb":"poweroff","services":["a"]}`, 400, `verb: "poweroff" is none of`},
		{"POST", "/v1/orders", `{"verb":"start","service":["a"]}`, 400, `unknown field "service"`},
		{"POST", "/v1/orders", `{"verb":"start","services":["a"]}{}`, 400, "more than one JSON value"},
		{"POST", "/v1/orders", `{"verb":"start","services":["` + long + `"]}`, 413, "request body too large"},
		{"POST", "/v1/services/a/swap?plan=perhaps", "x", 400, "plan=perhaps is neither true nor false"},
		{"POST", "/v1/programs/rollback?probation=soon", "", 400, "probation=soon is not a duration"},
	}
	for _, tt := range tests {
		status, media, text := do(t, socket, tt.method, tt.path, nil, tt.body)
		var p problem
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			t.Errorf("%s %s: %s: %v", tt.method, tt.path, text, err)
		}
		if status != tt.status || media != problemType || p.Status != status || p.Title != http.StatusText(status) || !strings.Contains(p.Detail, tt.detail) {
			t.Errorf("%s %s %.40s: got %d %s %s", tt.method, tt.path, tt.body, status, media, text)
		}
	}
}

// What is no HTTP request, or too large a one, ends in an error and the connection.
func TestMalformed(t *testing.T) {
	socket := serve(t, func(context.Context, Request) Response { return Response{} })
	for _, request := range []string{
		"start redis\n",
		"{\"verb\":\"list\"}\n",
		"GET /v1/services HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
		"GET /v1/services HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 2*headerLimit) + "\r\n\r\n",
		"GET /v1/services HTTP/1.1\r\n\r\n",
		"POST /v1/orders HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"POST /v1/services/a/start HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n",
	} {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, request) // The server may end before it has read all.
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || answer.StatusCode < 400 || answer.StatusCode >= 500 {
			t.Errorf("%.60q: %+v, %v", request, answer, err)
			conn.Close()
			continue
		}
		_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := io.Copy(io.Discard, conn); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%.60q: the connection does not end: %v", request, err)
		}
		conn.Close()
	}
}

// A process that opens ten thousand connections, sends a byte now and then or nothing, or
// closes its side, does not keep another one from an answer. The limits make most of its
// connections end immediately.
func TestManyConnections(t *testing.T) {
	const many = 10_000
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < 2*many {
		limit.Cur, limit.Max = 2*many, max(limit.Max, 2*many)
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Logf("fewer connections: cannot raise the limit of descriptors: %v", err)
		}
	}
	socket := serve(t, func(context.Context, Request) Response {
		return Response{Services: []Service{{Name: "a", State: Running}}}
	})
	refused := 0
	var open []net.Conn
	defer func() {
		for _, conn := range open {
			conn.Close()
		}
	}()
	for i := range many {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			if len(open) < 1000 {
				t.Fatal(err)
			}
			break
		}
		open = append(open, conn)
		switch i % 3 {
		case 0:
			_, _ = io.WriteString(conn, "G")
		case 1:
			_ = conn.(*net.UnixConn).CloseWrite()
		}
		if i >= 4*processLimit && i%100 == 0 {
			_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
			if text, _ := io.ReadAll(conn); strings.Contains(string(text), " 503 ") {
				refused++
			}
		}
	}
	command := exec.CommandContext(t.Context(), os.Args[0])
	command.Env = append(os.Environ(), clientEnv+"="+socket)
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("another process gets no answer: %v: %s", err, out)
	}
	if refused == 0 {
		t.Error("no connection was refused")
	}
}

// clientEnv makes the test's program a client of a socket.
const clientEnv = "CONTROL_TEST_CLIENT"

func TestMain(m *testing.M) {
	if socket := os.Getenv(clientEnv); socket != "" {
		if r, err := Unix(socket).Call(context.Background(), Request{Verb: List}); err != nil || len(r.Services) != 1 {
			fmt.Println(r, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Connections that end are not counted any more.
func TestConnectionsEnd(t *testing.T) {
	socket := serve(t, func(context.Context, Request) Response { return Response{} })
	for range 4 * connectionLimit {
		if r, err := Unix(socket).Call(t.Context(), Request{Verb: List}); err != nil || r.Error != "" {
			t.Fatal(r, err)
		}
	}
}

// The server ends although a client does not send its request, and one does not read.
func TestEndsInSpiteOfClients(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	large := Response{Services: []Service{{Name: strings.Repeat("x", 16<<20)}}}
	entered := make(chan struct{})
	server := &Server{Handler: handler(func(context.Context, Request) Response { close(entered); return large })}
	go func() { ended <- server.Serve(ctx, socket) }()
	waitForSocket(socket)
	for _, text := range []string{"GET", "GET /v1/services HTTP/1.1\r\nHost: x\r\n\r\n"} {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
	}
	<-entered
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// At the end, connections without a request are closed, and no others.
func TestSilent(t *testing.T) {
	s := &silent{conns: map[net.Conn]bool{}}
	unused, unusedEnd := net.Pipe()
	used, usedEnd := net.Pipe()
	late, lateEnd := net.Pipe()
	s.follow(unused, http.StateNew)
	s.follow(used, http.StateNew)
	s.follow(used, http.StateActive)
	s.end()
	s.follow(late, http.StateNew)
	for _, closed := range []net.Conn{unusedEnd, lateEnd} {
		if _, err := closed.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("a connection without a request: %v", err)
		}
	}
	go func() { _, _ = used.Write([]byte("x")) }()
	if _, err := usedEnd.Read(make([]byte, 1)); err != nil {
		t.Errorf("a connection with a request: %v", err)
	}
}

func FuzzOrders(f *testing.F) {
	for _, seed := range []string{`{"verb":"start","services":["a"]}`, `{"verb":"stop","services":["a","a"]}`, `{}`, `[`, `{"verb":1}`, `{"services":["a"]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		server := &Server{Handler: handler(func(_ context.Context, r Request) Response {
			if r.Verb != Start && r.Verb != Stop && r.Verb != Restart || len(r.Names) == 0 {
				t.Errorf("%q asks for %+v", body, r)
			}
			return Response{}
		})}
		w := httptest.NewRecorder()
		ctx := context.WithValue(t.Context(), connKey{}, &admitted{}) // Without it, nobody may ask.
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, prefix+"/orders", strings.NewReader(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		server.mux().ServeHTTP(w, r)
		if w.Code != http.StatusNoContent && (w.Code < 400 || w.Code >= 500) {
			t.Errorf("%q: %d", body, w.Code)
		}
	})
}
