// Package keys makes the certificates of a gate and of its clients: an authority, what the gate
// proves its identity with, and a certificate with a role for each client.
//
// Sources: RFC 5280 (certificates, revocation lists), RFC 5480 and FIPS 186-5 (P-256), RFC 7292
// (PKCS #12, for browsers).
package keys

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"keelson/services/control"
	"keelson/services/gate"
)

// Folders below that of an Authority.
const (
	serverDir  = "server"  // what a machine gets
	clientsDir = "clients" // NAME.crt, NAME.key and NAME.p12
	caKeyFile  = "ca.key"
)

// ServerName is the name of every gate, for connections that have no host name.
const ServerName = "keelson"

// Default times for which certificates are valid.
const (
	AuthorityTime = 10 * 365 * 24 * time.Hour
	ServerTime    = 365 * 24 * time.Hour
	ClientTime    = 90 * 24 * time.Hour
)

// early is how long before its making a certificate is valid: clocks differ.
const early = time.Hour

// Authority issues certificates. Its files are in a folder.
type Authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Init makes an authority in dir, which must not have one yet.
func Init(dir string) (*Authority, error) {
	if _, err := os.Stat(filepath.Join(dir, caKeyFile)); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot make an authority in %s: it has one (%s)", dir, caKeyFile)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("cannot make a key: %w", err)
	}
	template, err := template(pkix.Name{CommonName: "keelson gate authority"}, AuthorityTime)
	if err != nil {
		return nil, err
	}
	template.IsCA, template.BasicConstraintsValid, template.MaxPathLenZero = true, true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	a := &Authority{dir: dir, key: key}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err == nil {
		a.cert, err = x509.ParseCertificate(der)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot make the certificate of an authority: %w", err)
	}
	for _, sub := range []string{serverDir, clientsDir} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	return a, errors.Join(
		writeKey(filepath.Join(dir, caKeyFile), key),
		write(filepath.Join(dir, gate.CAFile), 0o644, "CERTIFICATE", der),
		write(filepath.Join(dir, serverDir, gate.CAFile), 0o644, "CERTIFICATE", der))
}

// Open reads the authority in dir.
func Open(dir string) (*Authority, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, gate.CAFile), filepath.Join(dir, caKeyFile))
	if err != nil {
		return nil, fmt.Errorf("cannot read the authority in %s: %w", dir, err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("cannot use the authority in %s: its key is not for ECDSA", dir)
	}
	return &Authority{dir, pair.Leaf, key}, nil
}

// Dir returns the folder of what a machine gets.
func (a *Authority) Dir() string { return filepath.Join(a.dir, serverDir) }

// Server makes a key and a certificate for the gate, which clients reach under the given names and
// addresses. It replaces those before.
func (a *Authority) Server(hosts []string, valid time.Duration) error {
	t, err := template(pkix.Name{CommonName: ServerName}, valid)
	if err != nil {
		return err
	}
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	t.DNSNames = []string{ServerName, "localhost"}
	t.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
			continue
		}
		if host == "" || strings.ContainsAny(host, ":/ ") {
			return fmt.Errorf("%q is neither a host name nor an IP address", host)
		}
		t.DNSNames = append(t.DNSNames, host)
	}
	_, err = a.issue(t, filepath.Join(a.Dir(), gate.CertFile), filepath.Join(a.Dir(), gate.KeyFile))
	return err
}

// Files are those of a client.
type Files struct{ CA, Cert, Key, P12 string }

// FilesOf returns the paths of the files of a client, below the folder of an authority.
func FilesOf(dir, name string) Files {
	base := filepath.Join(dir, clientsDir, name)
	return Files{CA: filepath.Join(dir, gate.CAFile), Cert: base + ".crt", Key: base + ".key", P12: base + ".p12"}
}

// Client makes a key and a certificate for a client. It replaces those before, which stay valid
// until they expire or are revoked. With a password, it also makes a file that browsers import.
func (a *Authority) Client(name string, role control.Role, valid time.Duration, password string) error {
	if err := gate.CheckName(name); err != nil {
		return err
	}
	if role == control.NoRole {
		return fmt.Errorf("%s has no role: use one of %s", name, strings.Join(control.Roles(), ", "))
	}
	t, err := template(pkix.Name{CommonName: name, Organization: []string{gate.RolePrefix + role.String()}}, valid)
	if err != nil {
		return err
	}
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	files := FilesOf(a.dir, name)
	issued, err := a.issue(t, files.Cert, files.Key)
	if err != nil || password == "" {
		return err
	}
	data, err := pkcs12.Modern.Encode(issued.key, issued.cert, []*x509.Certificate{a.cert}, password)
	if err != nil {
		return fmt.Errorf("cannot make %s: %w", files.P12, err)
	}
	return replace(files.P12, data, 0o600)
}

// Revoke revokes a certificate. The list that it writes is for the machine.
func (a *Authority) Revoke(cert *x509.Certificate) error {
	before, err := a.revoked()
	if err != nil {
		return err
	}
	list := x509.RevocationList{Number: big.NewInt(time.Now().Unix()), ThisUpdate: time.Now().Add(-early), NextUpdate: a.cert.NotAfter}
	if before != nil {
		list.RevokedCertificateEntries = before.RevokedCertificateEntries
		list.Number = new(big.Int).Add(before.Number, big.NewInt(1))
	}
	if !lists(&list, cert) {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: cert.SerialNumber, RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, &list, a.cert, a.key)
	if err != nil {
		return fmt.Errorf("cannot make a revocation list: %w", err)
	}
	return write(filepath.Join(a.Dir(), gate.RevokedFile), 0o644, "X509 CRL", der)
}

// Revoked reports whether the list has a certificate.
func (a *Authority) Revoked(cert *x509.Certificate) bool {
	list, err := a.revoked()
	return err == nil && list != nil && lists(list, cert)
}

func lists(list *x509.RevocationList, cert *x509.Certificate) bool {
	return slices.ContainsFunc(list.RevokedCertificateEntries, func(e x509.RevocationListEntry) bool { return e.SerialNumber.Cmp(cert.SerialNumber) == 0 })
}

// revoked returns the list, nil if there is none.
func (a *Authority) revoked() (*x509.RevocationList, error) {
	path := filepath.Join(a.Dir(), gate.RevokedFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("cannot read %s: it has no revocation list in PEM", path)
	}
	list, err := x509.ParseRevocationList(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", path, err)
	}
	return list, nil
}

// Certificate reads a certificate in PEM.
func Certificate(path string) (*x509.Certificate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("cannot read %s: it has no certificate in PEM", path)
	}
	return x509.ParseCertificate(block.Bytes)
}

// Clients returns the certificates of clients that are in the folder, by their names.
func (a *Authority) Clients() ([]*x509.Certificate, error) {
	paths, err := filepath.Glob(filepath.Join(a.dir, clientsDir, "*.crt"))
	if err != nil {
		return nil, err
	}
	var all []*x509.Certificate
	for _, path := range paths {
		cert, err := Certificate(path)
		if err != nil {
			return nil, err
		}
		all = append(all, cert)
	}
	return all, nil
}

type issued struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue makes a key, and a certificate for it.
func (a *Authority) issue(t *x509.Certificate, certPath, keyPath string) (issued, error) {
	if t.NotAfter.After(a.cert.NotAfter) {
		return issued{}, fmt.Errorf("the certificate would be valid longer than its authority, which ends at %v", a.cert.NotAfter.Format(time.RFC3339))
	}
	t.KeyUsage = x509.KeyUsageDigitalSignature
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return issued{}, fmt.Errorf("cannot make a key: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, key.Public(), a.key)
	if err != nil {
		return issued{}, fmt.Errorf("cannot make a certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return issued{}, fmt.Errorf("cannot make a certificate: %w", err)
	}
	return issued{cert, key}, errors.Join(writeKey(keyPath, key), write(certPath, 0o644, "CERTIFICATE", der))
}

// template returns a certificate that is valid from now on. It gets a random serial number.
func template(subject pkix.Name, valid time.Duration) (*x509.Certificate, error) {
	if valid <= 0 {
		return nil, fmt.Errorf("a certificate cannot be valid for %v", valid)
	}
	now := time.Now()
	return &x509.Certificate{Subject: subject, NotBefore: now.Add(-early), NotAfter: now.Add(valid)}, nil
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("cannot encode a key: %w", err)
	}
	return write(path, 0o600, "PRIVATE KEY", der)
}

func write(path string, mode os.FileMode, kind string, der []byte) error {
	return replace(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}

// replace writes a file that is complete or has not changed.
func replace(path string, data []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(mode), f.Close()); err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}
