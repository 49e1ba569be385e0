// Package endpoint reaches a gate from outside its machine: over TCP, over vsock, or at the socket
// that a hypervisor has for a virtio-serial port.
package endpoint

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mdlayher/vsock"

	"keelson/services/control"
	"keelson/services/gate/keys"
	"keelson/services/gate/serial"
)

// dialTime is the longest time for a connection, and for a handshake, so long that a machine that
// is busy with its boot answers.
const dialTime = 30 * time.Second

// Config is where a gate is and who its client is.
type Config struct {
	Address    string // tcp://HOST:PORT, vsock://CID:PORT or unix:PATH
	CA         string // file with the certificates of authorities, PEM
	Cert, Key  string // files with the client's certificate and key, PEM
	ServerName string // name in the gate's certificate; by default the host, or keys.ServerName where there is none
}

// address is a parsed Config.Address.
type address struct {
	scheme    string
	host      string // tcp: with the port
	name      string // tcp: without it
	cid, port uint32 // vsock
	path      string // unix
}

const (
	tcpScheme   = "tcp"
	vsockScheme = "vsock"
	unixScheme  = "unix"
)

func parse(s string) (address, error) {
	a, err := parseScheme(s)
	if err != nil {
		return address{}, fmt.Errorf("cannot use endpoint %.200q: %w", s, err)
	}
	return a, nil
}

func parseScheme(s string) (address, error) {
	scheme, rest, _ := strings.Cut(s, ":")
	if scheme == unixScheme {
		if rest == "" {
			return address{}, errors.New("it has no path")
		}
		return address{scheme: scheme, path: rest}, nil
	}
	rest, ok := strings.CutPrefix(rest, "//")
	if !ok || scheme != tcpScheme && scheme != vsockScheme {
		return address{}, errors.New("want tcp://HOST:PORT, vsock://CID:PORT or unix:PATH")
	}
	host, port, err := net.SplitHostPort(rest)
	if err != nil {
		return address{}, err
	}
	bits := 16
	if scheme == vsockScheme {
		bits = 32
	}
	number, err := strconv.ParseUint(port, 10, bits)
	if err != nil || number == 0 {
		return address{}, fmt.Errorf("%q is no port", port)
	}
	if scheme == tcpScheme {
		if u, err := url.Parse("https://" + rest); err != nil || host == "" || u.Host != rest {
			return address{}, fmt.Errorf("%q is no host", host)
		}
		return address{scheme: scheme, host: rest, name: host}, nil
	}
	cid, err := strconv.ParseUint(host, 10, 32)
	if err != nil {
		return address{}, fmt.Errorf("%q is no number of a machine (CID)", host)
	}
	return address{scheme: scheme, cid: uint32(cid), port: uint32(number)}, nil
}

// Open returns a client for the gate. It connects when the client is first used. Close ends the
// connections.
func Open(c Config) (client *control.Client, closer func(), err error) {
	a, err := parse(c.Address)
	if err != nil {
		return nil, nil, err
	}
	config, err := c.tls(a)
	if err != nil {
		return nil, nil, err
	}
	d := &dialer{address: a}
	host := a.host
	if host == "" {
		host = keys.ServerName
	}
	transport := &http.Transport{
		DialContext:           d.dial,
		TLSClientConfig:       config,
		TLSHandshakeTimeout:   dialTime,
		DisableKeepAlives:     true,
		DisableCompression:    true,
		ExpectContinueTimeout: time.Minute,
	}
	return &control.Client{Transport: transport, URL: "https://" + host, Where: c.Address}, d.close, nil
}

func (c Config) tls(a address) (*tls.Config, error) {
	text, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, fmt.Errorf("cannot read the certificate of the authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("cannot use %s: it has no certificate in PEM", c.CA)
	}
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return nil, fmt.Errorf("cannot use the certificate of the client: %w", err)
	}
	if now := time.Now(); now.After(pair.Leaf.NotAfter) {
		return nil, fmt.Errorf("cannot use %s: it has expired at %s; renew it with: keelson ctl keys client", c.Cert, pair.Leaf.NotAfter.Local().Format(time.DateTime))
	}
	name := c.ServerName
	if name == "" {
		name = a.name
	}
	if name == "" {
		name = keys.ServerName
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool, Certificates: []tls.Certificate{pair}, ServerName: name}, nil
}

// dialer makes connections to a gate. Those of a serial port have one session.
type dialer struct {
	address address

	mu      sync.Mutex
	session *serial.Session
}

func (d *dialer) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	var conn net.Conn
	var err error
	switch a := d.address; a.scheme {
	case vsockScheme:
		conn, err = vsock.Dial(a.cid, a.port, nil)
	case unixScheme:
		conn, err = d.open(ctx)
	default:
		var plain net.Dialer
		return plain.DialContext(ctx, "tcp", a.host)
	}
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: d.address.scheme, Err: err}
	}
	return conn, nil
}

// open opens a connection of the session, and begins that first.
func (d *dialer) open(ctx context.Context) (net.Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.session == nil {
		var plain net.Dialer
		conn, err := plain.DialContext(ctx, "unix", d.address.path)
		if err != nil {
			return nil, err
		}
		if d.session, err = serial.Dial(ctx, conn); err != nil {
			return nil, err
		}
	}
	return d.session.Open()
}

func (d *dialer) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.session != nil {
		_ = d.session.Close()
	}
}
