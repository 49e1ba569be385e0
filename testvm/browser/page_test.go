package browser_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"keelson/services/gate/page"
	"keelson/testvm/browser"
)

// A question that is asked before the browser has told the page that the last one was closed is
// answered by itself: the answer is carried out, and the order before is not.
func TestAskAgain(t *testing.T) {
	var mu sync.Mutex
	var orders []string
	answers := map[string]string{
		"/gate/client": `{"name":"admin","role":"admin","expires":"2030-01-01T00:00:00Z"}`,
		"/v1/services": `{"services":[{"name":"web","state":"running","since":"2026-01-01T00:00:00Z"},{"name":"redis","state":"running","since":"2026-01-01T00:00:00Z"}]}`,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if page.Serve(w, r) {
			return
		}
		if r.Method == http.MethodPost {
			mu.Lock()
			defer mu.Unlock()
			orders = append(orders, strings.TrimPrefix(r.URL.Path, "/v1/services/"))
			_, _ = w.Write([]byte("{}"))
			return
		}
		text, ok := answers[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(text))
	}))
	defer server.Close()
	b := browser.Start(t)
	b.Open(server.URL)
	b.Wait(`document.querySelector("[aria-label='Stop redis']") != null`)
	browser.Value[bool](b, `(document.querySelector("[aria-label='Stop web']").click(), document.querySelector("#confirm").close(), document.querySelector("[aria-label='Stop redis']").click(), true)`)
	b.Wait(`document.querySelector("#confirm").open`)
	b.Click("#confirm-yes")
	b.Wait(`!document.querySelector("#confirm").open`)
	browser.Value[bool](b, `(document.querySelector("[aria-label='Restart web']").click(), true)`)
	b.Press("\x1b") // Escape.
	b.Wait(`!document.querySelector("#confirm").open`)
	browser.Value[bool](b, `(document.querySelector("[aria-label='Restart web']").click(), true)`)
	b.Click("#confirm-no")
	browser.Value[bool](b, `window.told = false, new Promise(done => setTimeout(done, 0)).then(() => window.told = true), true`)
	b.Wait("window.told")
	mu.Lock()
	defer mu.Unlock()
	if len(orders) != 1 || orders[0] != "redis/stop" {
		t.Errorf("orders %q, want only redis/stop", orders)
	}
}
