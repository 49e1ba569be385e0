package gate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"keelson/services/control"
	"keelson/services/gate/page"
)

// PageHeader is a header that a request of a browser needs: a page of another origin cannot send it.
const PageHeader = "Keelson-Page"

// clientPath is where a client learns who it is.
const clientPath = "/gate/client"

// proxy answers requests of clients.
type proxy struct {
	gate      *Gate
	places    places
	transport *http.Transport
	reverse   *httputil.ReverseProxy
}

// Keys in the context of a request: of its Client and of the response.
type (
	personKey   struct{}
	responseKey struct{}
)

func newProxy(g *Gate) *proxy {
	p := &proxy{gate: g, places: places{persons: map[string]int{}}}
	p.transport = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", g.Socket)
		},
		DisableCompression:     true,
		MaxIdleConnsPerHost:    2,
		MaxConnsPerHost:        requestLimit + 4, // Connections that end are still counted for a moment.
		IdleConnTimeout:        20 * time.Second, // less than the supervisor keeps them
		ExpectContinueTimeout:  bodyTime,
		MaxResponseHeaderBytes: headerLimit,
	}
	p.reverse = &httputil.ReverseProxy{
		Rewrite:      rewrite,
		Transport:    described{p.transport},
		ErrorHandler: p.unanswered,
		ModifyResponse: func(r *http.Response) error { // The status of an upgrade is written past the ResponseWriter.
			if t, ok := r.Request.Context().Value(responseKey{}).(*timed); ok && r.StatusCode == http.StatusSwitchingProtocols {
				t.status = r.StatusCode
			}
			return nil
		},
		ErrorLog:   slog.NewLogLogger(g.Logger.Handler(), slog.LevelDebug),
		BufferPool: &buffers{},
	}
	return p
}

func (p *proxy) close() { p.transport.CloseIdleConnections() }

// ServeHTTP refuses those whose certificate gives them no role, and requests that a page of
// another origin has sent.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t := &timed{ResponseWriter: w}
	c := http.NewResponseController(w)
	_ = c.EnableFullDuplex() // A response may begin before the end of a body.
	_ = c.SetWriteDeadline(time.Time{})
	defer func() { // Of what the request did not need, and of the rest of the response.
		_ = c.SetReadDeadline(time.Now().Add(headerTime))
		_ = c.SetWriteDeadline(time.Now().Add(writeTime))
	}()
	began := time.Now()
	log := p.gate.Logger.With("client", subject(r), "from", r.RemoteAddr, "method", r.Method, "path", r.URL.RequestURI())
	if r.Header.Get("Upgrade") != "" { // It may take days.
		log.Info("request begins")
	}
	defer func() { // Also when the client has gone.
		if changes(r) || t.status == http.StatusForbidden {
			log.Info("request", "status", t.status, "took", time.Since(began).Round(time.Millisecond))
		}
	}()
	person, err := p.person(r)
	if err == nil {
		err = sameOrigin(r)
	}
	if err != nil {
		fail(t, http.StatusForbidden, err)
		return
	}
	p.serve(t, r, person)
}

// subject returns the subject of a client's certificate, for people.
func subject(r *http.Request) string {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return "none"
	}
	return r.TLS.PeerCertificates[0].Subject.String()
}

// person returns the client that sent a request. Its certificate was valid when it connected.
func (p *proxy) person(r *http.Request) (Client, error) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return Client{}, errors.New("the client has no certificate")
	}
	cert := r.TLS.VerifiedChains[0][0]
	switch {
	case time.Now().After(cert.NotAfter):
		return Client{}, fmt.Errorf("the certificate has expired at %v", cert.NotAfter.UTC().Format(time.RFC3339))
	case p.gate.Credentials.Revoked(cert):
		return Client{}, errRevoked
	}
	return ClientOf(cert)
}

// changes reports whether a request may change something or takes over the connection.
func changes(r *http.Request) bool {
	return r.Method != http.MethodGet && r.Method != http.MethodHead || r.Header.Get("Upgrade") != ""
}

// sameOrigin returns an error for a request that a page of another origin may have sent with the
// certificate of a browser's user. Browsers say with the header Sec-Fetch-Site or Origin where a
// request comes from; other clients send neither.
func sameOrigin(r *http.Request) error {
	site, origin := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Origin")
	if site == "" && origin == "" {
		return nil
	}
	if origin != "" {
		if u, err := url.Parse(origin); err != nil || u.Scheme != "https" || u.Host != r.Host {
			return fmt.Errorf("a page of %.100q may not use the gate", origin)
		}
	}
	if site != "" && site != "same-origin" && (site != "none" || changes(r)) && !navigation(r) {
		return errors.New("a page of another origin may not use the gate")
	}
	if changes(r) && r.Header.Get("Upgrade") == "" && r.Header.Get(PageHeader) == "" {
		return fmt.Errorf("a browser needs the header %s for a request that changes something", PageHeader)
	}
	if r.Header.Get("Upgrade") != "" && origin == "" {
		return errors.New("a browser needs the header Origin to take over the connection")
	}
	return nil
}

// navigation reports whether a browser opens the page itself, as by a link elsewhere.
func navigation(r *http.Request) bool {
	return !changes(r) && r.URL.Path == "/" && r.Header.Get("Sec-Fetch-Mode") == "navigate"
}

// serve answers a client.
func (p *proxy) serve(w *timed, r *http.Request, person Client) {
	w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.URL.Path == clientPath && r.Method == http.MethodGet {
		about(w, person)
		return
	}
	if page.Has(r.URL.Path) && !changes(r) && page.Serve(w, r) {
		return
	}
	if r.Method == http.MethodConnect || r.Method == http.MethodTrace {
		fail(w, http.StatusMethodNotAllowed, fmt.Errorf("the gate has no method %s", r.Method))
		return
	}
	if !p.places.enter(person.Name) {
		fail(w, http.StatusServiceUnavailable, fmt.Errorf("too many requests at the same time: at most %d, and %d of one client", requestLimit, personLimit))
		return
	}
	defer p.places.leave(person.Name)
	ctx, cancel := context.WithDeadline(context.WithValue(context.WithValue(r.Context(), personKey{}, person), responseKey{}, w), person.Expires)
	defer cancel()
	if r.Body != nil && r.Body != http.NoBody {
		w.body = &patient{body: r.Body, c: http.NewResponseController(w)}
		r.Body = w.body
	}
	p.reverse.ServeHTTP(w, r.WithContext(ctx))
}

// rewrite makes the request for the supervisor.
func rewrite(r *httputil.ProxyRequest) {
	r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "http", "keelson", "keelson"
	r.Out.URL.RawQuery = r.In.URL.RawQuery // The supervisor reports what is wrong with it.
	r.Out.Header.Del("Origin")             // It was compared with the gate's.
	maps.DeleteFunc(r.Out.Header, func(name string, _ []string) bool { return strings.HasPrefix(name, "Keelson-") })
}

// described sends requests with the headers that say for whom, and no other ones.
type described struct{ http.RoundTripper }

// RoundTrip sends a request that the proxy has made, which is its own.
func (d described) RoundTrip(r *http.Request) (*http.Response, error) {
	person, ok := r.Context().Value(personKey{}).(Client)
	if !ok || person.Role == control.NoRole {
		return nil, errors.New("a request without a client")
	}
	r.Header.Set(control.ClientHeader, person.Name)
	r.Header.Set(control.RoleHeader, person.Role.String())
	return d.RoundTripper.RoundTrip(r)
}

// unanswered answers when the supervisor does not.
func (p *proxy) unanswered(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil && !errors.Is(r.Context().Err(), context.DeadlineExceeded) {
		panic(http.ErrAbortHandler) // The client has gone. net/http ends the connection; after a return it would answer 200.
	}
	if t, ok := r.Context().Value(responseKey{}).(*timed); ok && t.body != nil {
		if failed := t.body.failed.Load(); failed != nil {
			fail(w, http.StatusBadRequest, fmt.Errorf("cannot read the request: %w", *failed))
			return
		}
	}
	p.gate.Logger.Error("the supervisor does not answer", "error", err)
	fail(w, http.StatusBadGateway, fmt.Errorf("the supervisor does not answer: %w", err))
}

// buffers are those that responses are copied with.
type buffers struct{ pool sync.Pool }

const bufferSize = 32 << 10

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, bufferSize)
}

func (b *buffers) Put(p []byte) { b.pool.Put(&p) }
