package gate_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"

	"keelson/services/control"
)

// Thousands of connections that send nothing, garbage or half a handshake keep no client from an
// answer, and cost a bounded amount of memory.
func TestManyConnections(t *testing.T) {
	w := newWorld(t, ok)
	const many = 2000
	hello := firstBytes(t)
	before := memory()
	var open []net.Conn
	defer func() {
		for _, conn := range open {
			conn.Close()
		}
	}()
	c := w.config(t, "rita")
	for i := range many {
		conn, err := net.Dial("tcp", w.address)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, conn)
		switch i % 3 {
		case 0:
			_, _ = conn.Write([]byte(strings.Repeat("garbage\n", 8)))
		case 1:
			_, _ = conn.Write(hello[:len(hello)/2])
		}
		if i%100 == 99 {
			if status, text := do(t, client(c), http.MethodGet, w.url("/v1/services"), ""); status != http.StatusOK {
				t.Fatalf("after %d connections: %d %s", i, status, text)
			}
		}
	}
	if grown := int64(memory()) - int64(before); grown > 32<<20 {
		t.Errorf("the memory grows by %d bytes", grown)
	}
}

// memory returns the bytes in use.
func memory() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// firstBytes returns the first bytes of a handshake.
func firstBytes(t *testing.T) []byte {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	go func() {
		_ = tls.Client(far, &tls.Config{InsecureSkipVerify: true}).Handshake()
		far.Close()
	}()
	buf := make([]byte, 4096)
	n, err := near.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

// A client with a certificate can open a bounded number of connections, and does not keep
// another one from an answer.
func TestConnectionsOfOneClient(t *testing.T) {
	w := newWorld(t, ok)
	c := w.config(t, "olga")
	refused := 0
	for range 100 {
		conn, err := tls.Dial("tcp", w.address, c)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET /v1/services HTTP/1.1\r\nHost: x\r\n\r\n")
		buf := make([]byte, 12)
		if _, err := io.ReadFull(conn, buf); err == nil && strings.HasSuffix(string(buf), "503") {
			refused++
		}
	}
	if refused != 100-32 {
		t.Errorf("%d connections of 100 were refused", refused)
	}
	if status, text := do(t, client(w.config(t, "rita")), http.MethodGet, w.url("/v1/services"), ""); status != http.StatusOK {
		t.Errorf("%d %s", status, text)
	}
}

// One client may ask for a bounded number of things at the same time.
func TestRequestsOfOneClient(t *testing.T) {
	release := make(chan struct{})
	entered := make(chan struct{}, 100)
	w := newWorld(t, func(_ context.Context, r control.Request) control.Response {
		if r.Verb == control.Restart {
			entered <- struct{}{}
			<-release
		}
		return control.Response{}
	})
	config := w.config(t, "olga")
	var group sync.WaitGroup
	for range 24 {
		group.Go(func() {
			if status, text := do(t, client(config), http.MethodPost, w.url("/v1/services/a/restart"), ""); status != http.StatusNoContent {
				t.Errorf("%d %s", status, text)
			}
		})
		<-entered
	}
	if status, text := do(t, client(config), http.MethodPost, w.url("/v1/services/a/restart"), ""); status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", status, text)
	}
	if status, text := do(t, client(w.config(t, "anna")), http.MethodPost, w.url("/v1/services/a/start"), ""); status != http.StatusNoContent {
		t.Errorf("another client: %d %s", status, text)
	}
	close(release)
	group.Wait()
}

// Requests that are malformed or too large end with the connection, and nothing else.
func TestMalformed(t *testing.T) {
	w := newWorld(t, ok)
	for _, request := range []string{
		"garbage\n\n",
		"GET /v1/services HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n",
		"POST /v1/orders HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"POST /v1/orders HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 1000000),
		"POST /v1/services/a/start HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/services HTTP/1.1\r\nHost: x\r\n\r\n",
		"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n",
		"GET http://other.example/v1/none HTTP/1.1\r\nHost: other.example\r\n\r\n",
		"GET /v1/%2e%2e/x HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		conn, err := tls.Dial("tcp", w.address, w.config(t, "anna"))
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.WriteString(conn, request) }()
		buf := make([]byte, 12)
		if _, err := io.ReadFull(conn, buf); err == nil && !strings.HasPrefix(string(buf), "HTTP/1.1 4") {
			t.Errorf("%.60q: %s", request, buf)
		}
		conn.Close()
	}
	if status, text := do(t, client(w.config(t, "rita")), http.MethodGet, w.url("/v1/services"), ""); status != http.StatusOK {
		t.Errorf("%d %s", status, text)
	}
}

// BenchmarkRequest measures a request on a connection that is open, and one that connects first.
func BenchmarkRequest(b *testing.B) {
	w := newWorld(b, ok)
	open := &http.Client{Transport: &http.Transport{TLSClientConfig: w.config(b, "rita")}}
	for name, c := range map[string]*http.Client{"open": open, "new": client(w.config(b, "rita"))} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if status, text := do(b, c, http.MethodGet, w.url("/v1/services"), ""); status != http.StatusOK {
					b.Fatal(status, text)
				}
			}
		})
	}
}
