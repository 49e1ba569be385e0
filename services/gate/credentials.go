package gate

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"keelson/runtime/readfile"
)

// Files in the folder of the gate's credentials, all PEM.
const (
	CAFile      = "ca.crt"      // certificates of the authorities that issue those of clients
	CertFile    = "server.crt"  // own certificate, with what is between it and its root
	KeyFile     = "server.key"  // its key
	RevokedFile = "revoked.crl" // revocation lists of the authorities; may be missing
)

var files = []string{CAFile, CertFile, KeyFile, RevokedFile}

// fileLimit is the largest size of such a file, in bytes.
const fileLimit = 1 << 20

// Credentials are what the gate proves its identity with, and knows clients by. They are read
// again when a file has changed, so that certificates are renewed and revoked while it runs.
type Credentials struct {
	dir    string
	logger *slog.Logger

	mu      sync.Mutex
	stamps  [4]stamp
	current *loaded
}

// stamp says whether a file is the same as before.
type stamp struct {
	time time.Time
	size int64
}

// loaded is the content of the files.
type loaded struct {
	config  *tls.Config
	revoked map[string]bool // by issuer and serial number
}

// LoadCredentials reads the files in dir.
func LoadCredentials(dir string, logger *slog.Logger) (*Credentials, error) {
	c := &Credentials{dir: dir, logger: logger}
	stamps, err := c.stat()
	if err != nil {
		return nil, err
	}
	c.stamps = stamps
	c.current, err = load(dir)
	return c, err
}

func (c *Credentials) stat() (stamps [4]stamp, err error) {
	for i, name := range files {
		info, err := os.Stat(filepath.Join(c.dir, name))
		if name == RevokedFile && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return stamps, fmt.Errorf("cannot read the credentials of the gate: %w", err)
		}
		stamps[i] = stamp{info.ModTime(), info.Size()}
	}
	return stamps, nil
}

// latest returns the content of the files. If it cannot be used, the one before stays in use.
func (c *Credentials) latest() *loaded {
	c.mu.Lock()
	defer c.mu.Unlock()
	stamps, err := c.stat()
	if err == nil && stamps == c.stamps {
		return c.current
	}
	var next *loaded
	if err == nil {
		next, err = load(c.dir)
	}
	switch {
	case err == nil:
		c.current = next
		c.logger.Info("the credentials of the gate have changed and are in use")
	case stamps != c.stamps: // Logged once for each change.
		c.logger.Error("the credentials of the gate have changed and cannot be used; those before stay in use", "error", err)
	}
	c.stamps = stamps
	return c.current
}

// ServerConfig returns the configuration of the gate's side of connections.
func (c *Credentials) ServerConfig() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.latest().config, nil },
	}
}

// Revoked reports whether an authority has revoked a certificate.
func (c *Credentials) Revoked(cert *x509.Certificate) bool { return c.latest().has(cert) }

func (l *loaded) has(cert *x509.Certificate) bool {
	return l.revoked[revocation(cert.RawIssuer, cert.SerialNumber.Bytes())]
}

func revocation(issuer, serial []byte) string { return string(issuer) + "/" + string(serial) }

var errRevoked = errors.New("the certificate is revoked")

func load(dir string) (*loaded, error) {
	var text [4][]byte
	for i, name := range files {
		var err error
		text[i], err = readfile.Limited(filepath.Join(dir, name), fileLimit)
		if err != nil && (name != RevokedFile || !errors.Is(err, fs.ErrNotExist)) {
			return nil, fmt.Errorf("cannot read the credentials of the gate: %w", err)
		}
	}
	pair, err := tls.X509KeyPair(text[1], text[2])
	if err != nil {
		return nil, fmt.Errorf("cannot use %s and %s in %s: %w", CertFile, KeyFile, dir, err)
	}
	authorities, err := certificates(text[0])
	if err != nil {
		return nil, fmt.Errorf("cannot use %s in %s: %w", CAFile, dir, err)
	}
	l := &loaded{}
	if l.revoked, err = revocations(text[3], authorities); err != nil {
		return nil, fmt.Errorf("cannot use %s in %s: %w", RevokedFile, dir, err)
	}
	pool := x509.NewCertPool()
	for _, authority := range authorities {
		pool.AddCert(authority)
	}
	l.config = &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{pair},
		ClientAuth:             tls.RequireAndVerifyClientCert,
		ClientCAs:              pool,
		NextProtos:             []string{"http/1.1"},
		SessionTicketsDisabled: true, // Each connection proves the client again.
		VerifyConnection: func(s tls.ConnectionState) error {
			if l.has(s.PeerCertificates[0]) {
				return errRevoked
			}
			return nil
		},
	}
	return l, nil
}

// certificates returns the certificates in PEM, at least one.
func certificates(text []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		all = append(all, cert)
	}
	if len(all) == 0 {
		return nil, errors.New("it has no certificate in PEM")
	}
	return all, nil
}

// revocations returns what is in lists of revoked certificates, which the authorities signed.
func revocations(text []byte, authorities []*x509.Certificate) (map[string]bool, error) {
	revoked := map[string]bool{}
	found := len(text) == 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "X509 CRL" {
			continue
		}
		list, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			return nil, err
		}
		if err := signedByOne(list, authorities); err != nil {
			return nil, err
		}
		found = true
		for _, entry := range list.RevokedCertificateEntries {
			revoked[revocation(list.RawIssuer, entry.SerialNumber.Bytes())] = true
		}
	}
	if !found {
		return nil, errors.New("it has no revocation list in PEM")
	}
	return revoked, nil
}

func signedByOne(list *x509.RevocationList, authorities []*x509.Certificate) error {
	err := errors.New("no authority has its name")
	for _, authority := range authorities {
		if string(authority.RawSubject) != string(list.RawIssuer) {
			continue
		}
		if err = list.CheckSignatureFrom(authority); err == nil {
			return nil
		}
	}
	return fmt.Errorf("the revocation list is not signed by an authority of %s: %w", CAFile, err)
}
