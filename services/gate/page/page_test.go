package page

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func get(t *testing.T, method, path string) (*httptest.ResponseRecorder, bool) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	return w, Serve(w, r)
}

// Each file has its type and the policy; there are no others.
func TestServe(t *testing.T) {
	for path, media := range map[string]string{"/": "text/html", "/page/page.css": "text/css", "/page/page.js": "text/javascript", "/page/icon.svg": "image/svg+xml"} {
		w, ok := get(t, http.MethodGet, path)
		h := w.Header()
		if !ok || !Has(path) || w.Code != http.StatusOK || !strings.HasPrefix(h.Get("Content-Type"), media) || w.Body.Len() == 0 ||
			!strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") || strings.Contains(h.Get("Content-Security-Policy"), "unsafe") {
			t.Errorf("%s: %d %v", path, w.Code, h)
		}
		if w, ok := get(t, http.MethodHead, path); !ok || w.Body.Len() != 0 || w.Header().Get("Content-Length") == "0" {
			t.Errorf("HEAD %s: %v %d", path, ok, w.Body.Len())
		}
	}
	for _, path := range []string{"/page/", "/page/index.html", "/page/none", "/page/../page.go", "/page/page.css/"} {
		if _, ok := get(t, http.MethodGet, path); ok {
			t.Errorf("%s exists", path)
		}
	}
	if Has("/v1/services") || Has("/pages") || Has("") {
		t.Error("paths of the API are the page's")
	}
}

// The document has no code and no style of its own and loads nothing from elsewhere; each element that
// the script asks for is there; the script makes no elements of text.
func TestDocument(t *testing.T) {
	text := map[string]string{}
	for name := range types {
		data, err := files.ReadFile("files/" + name)
		if err != nil {
			t.Fatal(err)
		}
		text[name] = string(data)
	}
	document, script := text["index.html"], text["page.js"]
	for what, pattern := range map[string]string{"code": `<script(>| [^>]*>[^<])|\son[a-z]+=|javascript:`, "style": `<style|\sstyle=`, "another origin": `(src|href)="(?:https?:)?//`} {
		if found := regexp.MustCompile(pattern).FindString(document); found != "" {
			t.Errorf("the document has %s: %q", what, found)
		}
	}
	for _, m := range regexp.MustCompile(`(?:src|href)="(/[^"]*)"`).FindAllStringSubmatch(document, -1) {
		if _, ok := get(t, http.MethodGet, m[1]); !ok {
			t.Errorf("the document names %s, which there is not", m[1])
		}
	}
	asked := regexp.MustCompile(`\$\("([a-z-]+)"\)`).FindAllStringSubmatch(script, -1)
	for _, m := range asked {
		if !strings.Contains(document, `id="`+m[1]+`"`) {
			t.Errorf("the script asks for %s, which the document has not", m[1])
		}
	}
	if len(asked) < 10 {
		t.Errorf("the script asks for %d elements", len(asked))
	}
	for _, bad := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "http://", "https://"} {
		if strings.Contains(strings.ReplaceAll(script, "http://www.w3.org/2000/svg", ""), bad) {
			t.Errorf("the script has %s", bad)
		}
	}
	for _, bad := range []string{"@import", "url("} {
		if strings.Contains(text["page.css"], bad) {
			t.Errorf("the style has %s", bad)
		}
	}
}
