package control

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"keelson/testvm/tier"
)

// describe is a handler that says what arrives as a body, and how.
func describe(_ context.Context, r Request) Response {
	text, err := io.ReadAll(r.Body)
	_, isFile := r.Body.(*os.File)
	return Response{Plan: []string{fmt.Sprintf("%v %d %v", isFile, len(text), err)}}
}

// The supervisor reads a regular file itself. Whatever else a client has as the body arrives as
// before.
func TestFileIsHandedOver(t *testing.T) {
	tier.Root(t)
	socket := serve(t, describe)
	path := filepath.Join(t.TempDir(), "artifact")
	if err := os.WriteFile(path, bytes.Repeat([]byte("x"), 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	open := func(flags int) *os.File {
		f, err := os.OpenFile(path, flags, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	begun := open(os.O_RDONLY)
	if _, err := begun.Seek(1<<19, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = w.WriteString("text")
		w.Close()
	}()
	for name, tt := range map[string]struct {
		body io.Reader
		want string
	}{
		"file":            {open(os.O_RDONLY), "true 1048576 <nil>"},
		"for writing too": {open(os.O_RDWR), "false 1048576 <nil>"},
		"not from 0":      {begun, "false 524288 <nil>"},
		"pipe":            {r, "false 4 <nil>"},
		"memory":          {strings.NewReader("abc"), "false 3 <nil>"},
	} {
		got, err := Unix(socket).Call(t.Context(), Request{Verb: Swap, Names: []string{"a"}, Body: tt.body})
		if err != nil || got.Error != "" || len(got.Plan) != 1 || got.Plan[0] != tt.want {
			t.Errorf("%s: %+v, %v, want %s", name, got, err, tt.want)
		}
	}
}

// A request that speaks of a file and brings none is refused, so that its client sends the content.
func TestFileIsMissing(t *testing.T) {
	socket := serve(t, describe)
	for kind, want := range map[string]string{artifactFile: "no descriptor came", "other": "is not known"} {
		status, media, text := do(t, socket, "POST", "/v1/services/a/swap", http.Header{artifactHeader: {kind}}, "")
		if status != http.StatusUnsupportedMediaType || media != problemType || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s %s", kind, status, media, text)
		}
	}
	if status, _, text := do(t, socket, "POST", "/v1/services/a/swap", http.Header{artifactHeader: {artifactFile}}, "body"); status != http.StatusUnsupportedMediaType || !strings.Contains(text, "no body") {
		t.Errorf("%d %s", status, text)
	}
}

// Descriptors that nobody wants are closed with their connection at the latest, and each
// connection has one at most.
func TestDescriptorsAreClosed(t *testing.T) {
	socket := serve(t, describe)
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range 10 {
		fd := int(w.Fd())
		if _, _, err := conn.(*net.UnixConn).WriteMsgUnix([]byte("G"), unix.UnixRights(fd, fd, fd, fd, fd), nil); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	conn.Close()
	if n, err := r.Read(make([]byte, 1)); err != io.EOF { // The pipe has no more writers.
		t.Errorf("%d, %v", n, err)
	}
}
