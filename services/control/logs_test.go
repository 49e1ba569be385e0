package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tmaxmax/go-sse"

	"keelson/runtime/logs/reader"
)

// serveLogs serves the logs in a folder.
func serveLogs(t *testing.T, files map[string]string) (c *Client, dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	socket := filepath.Join(t.TempDir(), "s")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	server := &Server{
		Handler: handler(func(context.Context, Request) Response { return Response{} }),
		More:    []Route{LogsRoute(LogsHandler(reader.Set{Folders: []string{dir}, Boots: filepath.Join(dir, "boots")})), BootsRoute(reader.Set{Boots: filepath.Join(dir, "boots")})},
	}
	go func() { done <- server.Serve(ctx, socket) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	waitForSocket(socket)
	return Unix(socket), dir
}

func TestLogs(t *testing.T) {
	c, _ := serveLogs(t, map[string]string{
		"web.log": "one\ntwo \xff\n", "web.out.log": "three\n", "db.log": strings.Repeat("x", 20_000) + "\nfour\n",
	})
	for want, q := range map[string]LogQuery{
		"db:four db:xx… web:one web:three web:two \xff": {},
		"web:one web:three web:two \xff":                {Names: []string{"w*"}},
		"web:one":                                       {Names: []string{"web"}, Grep: "^o"},
		"db:four":                                       {Names: []string{"db"}, Lines: 1, Since: "-1h"},
		"":                                              {Since: "@99999999999"},
	} {
		var got []string
		err := c.Logs(t.Context(), q, func(o reader.Object, _ bool) error {
			e, err := o.Entry()
			if e.More {
				e.Text = []byte("xx…")
			}
			got = append(got, e.Name+":"+string(e.Text))
			return err
		})
		slices.Sort(got)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%+v: %q, %v, want %q", q, got, err, want)
		}
	}
}

func TestLogsRefused(t *testing.T) {
	c, _ := serveLogs(t, map[string]string{"web.log": "one\n"})
	for want, q := range map[string]LogQuery{
		`4 no log is named "none"`:        {Names: []string{"web", "none"}},
		`2 --since: cannot read time "x"`: {Since: "x"},
		`2 --until: cannot read time "y"`: {Until: "y"},
		`2 -f and --until exclude`:        {Until: "now", Follow: true},
		`2 --grep: error parsing`:         {Grep: "("},
	} {
		err := c.Logs(t.Context(), q, func(reader.Object, bool) error { return nil })
		refused := (*RefusedError)(nil)
		if !errors.As(err, &refused) || !strings.HasPrefix(fmt.Sprint(refused.Code, " ", refused.Detail), want) {
			t.Errorf("%+v: %v, want %s", q, err, want)
		}
	}
	for _, query := range []string{"lines=-1", "lines=x", "follow=x", "other=1"} {
		if status, media, _ := do(t, c.socket, "GET", "/v1/logs?"+query, nil, ""); status != http.StatusBadRequest || media != problemType {
			t.Errorf("%s: %d %s", query, status, media)
		}
	}
}

// appendTo appends to a file. os.WriteFile empties it first, which a reader that follows may see: it
// starts again.
func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// A client that follows gets a line when it is written, without waiting for more.
func TestLogsFollow(t *testing.T) {
	c, dir := serveLogs(t, map[string]string{"web.log": "one\n"})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got []string
	err := c.Logs(ctx, LogQuery{Names: []string{"web", "later"}, Follow: true}, func(o reader.Object, more bool) error {
		got = append(got, o.Name+":"+o.Text)
		switch len(got) {
		case 1:
			return appendTo(filepath.Join(dir, "web.log"), "two\n")
		case 2:
			return os.WriteFile(filepath.Join(dir, "later.log"), []byte("three\n"), 0o600)
		}
		cancel()
		return nil
	})
	if err == nil || strings.Join(got, " ") != "web:one web:two later:three" {
		t.Errorf("%q, %v", got, err)
	}
}

// Each line is an event for a client that accepts them.
func TestLogsAsEvents(t *testing.T) {
	c, _ := serveLogs(t, map[string]string{"web.log": "one\ntwo\n" + strings.Repeat("x", 20_000) + "\n"})
	request, err := http.NewRequestWithContext(t.Context(), "GET", "http://keelson/v1/logs?name=web&lines=2", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", eventsType)
	answer, err := c.Transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var got []string
	for m, err := range sse.Read(answer.Body, nil) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(m.Type, strings.Contains(m.Data, `"text":"two"`), strings.Contains(m.Data, `"cut":true`)))
	}
	if want := "linetrue false linefalse true"; strings.Join(got, " ") != want {
		t.Errorf("%q, want %s", got, want)
	}
}
