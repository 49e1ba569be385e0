// Package page has the page that the gate serves: one HTML document, one style sheet, one script
// and an icon, which need nothing else and work offline. The page is a client of the control API
// like others.
package page

import (
	"embed"
	"net/http"
	"strconv"
	"strings"
)

//go:embed files
var files embed.FS

// policy lets the page use its own files and the API, and nothing else: no code or style in the
// document, no frames, no forms (https://www.w3.org/TR/CSP3/).
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// Prefix begins the paths of the files besides the document, which is at /.
const Prefix = "/page/"

var types = map[string]string{
	"index.html": "text/html; charset=utf-8",
	"page.css":   "text/css; charset=utf-8",
	"page.js":    "text/javascript; charset=utf-8",
	"icon.svg":   "image/svg+xml",
}

// Has reports whether a path is that of the page or of one of its files.
func Has(path string) bool { return path == "/" || strings.HasPrefix(path, Prefix) }

// Serve answers a request for one of them. It reports false, and does nothing, if there is none.
func Serve(w http.ResponseWriter, r *http.Request) bool {
	name := "index.html"
	if r.URL.Path != "/" {
		name = strings.TrimPrefix(r.URL.Path, Prefix)
	}
	media, ok := types[name]
	if !ok || name == "index.html" && r.URL.Path != "/" {
		return false
	}
	text, err := files.ReadFile("files/" + name)
	if err != nil {
		return false
	}
	h := w.Header()
	h.Set("Content-Type", media)
	h.Set("Content-Length", strconv.Itoa(len(text)))
	h.Set("Content-Security-Policy", policy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache") // Another gate may have another version.
	if r.Method == http.MethodHead {
		return true
	}
	_, _ = w.Write(text) // The client may have closed the connection.
	return true
}
