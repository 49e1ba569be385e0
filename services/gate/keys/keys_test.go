package keys

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"keelson/services/control"
	"keelson/services/gate"
)

func TestAuthority(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	if _, err := Open(dir); err == nil {
		t.Error("a folder that does not exist has an authority")
	}
	made, err := Init(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Init(dir); err == nil {
		t.Error("an authority is replaced")
	}
	a, err := Open(dir)
	if err != nil || !a.cert.Equal(made.cert) {
		t.Fatal(err)
	}
	if err := a.Server([]string{"box.example", "192.0.2.1", "2001:db8::1"}, ServerTime); err != nil {
		t.Fatal(err)
	}
	if err := a.Client("anna", control.Admin, ClientTime, "secret"); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	server, err := Certificate(filepath.Join(a.Dir(), gate.CertFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{ServerName, "localhost", "127.0.0.1", "::1", "box.example", "192.0.2.1", "2001:db8::1"} {
		if _, err := server.Verify(x509.VerifyOptions{Roots: pool, DNSName: name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	files := FilesOf(dir, "anna")
	client, err := Certificate(files.Cert)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Error(err)
	}
	if _, err := client.Verify(x509.VerifyOptions{Roots: pool}); err == nil {
		t.Error("a client can be a server")
	}
	if c, err := gate.ClientOf(client); err != nil || c.Name != "anna" || c.Role != control.Admin {
		t.Errorf("%+v, %v", c, err)
	}
	if left := time.Until(client.NotAfter); left > ClientTime || left < ClientTime-time.Hour {
		t.Errorf("the certificate is valid for %v", left)
	}
	for path, mode := range map[string]os.FileMode{files.Key: 0o600, files.P12: 0o600, filepath.Join(dir, caKeyFile): 0o600, filepath.Join(a.Dir(), gate.KeyFile): 0o600, files.Cert: 0o644} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	data, err := os.ReadFile(files.P12)
	if err != nil {
		t.Fatal(err)
	}
	_, cert, chain, err := pkcs12.DecodeChain(data, "secret")
	if err != nil || !cert.Equal(client) || len(chain) != 1 || !chain[0].Equal(a.cert) {
		t.Errorf("the file for browsers: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*", ".new-*")); err != nil || len(left) > 0 {
		t.Errorf("left over: %q, %v", left, err)
	}
}

func TestRefused(t *testing.T) {
	a, err := Init(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for problem, err := range map[string]error{
		"has no role":             a.Client("anna", control.NoRole, ClientTime, ""),
		"cannot be the name":      a.Client("../anna", control.Admin, ClientTime, ""),
		"cannot be valid":         a.Client("anna", control.Admin, 0, ""),
		"longer than":             a.Client("anna", control.Admin, 2*AuthorityTime, ""),
		"neither a host name nor": a.Server([]string{"https://x/"}, ServerTime),
	} {
		if err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("%s: %v", problem, err)
		}
	}
	if clients, err := a.Clients(); err != nil || len(clients) != 0 {
		t.Errorf("%v, %v", clients, err)
	}
}

// A list keeps what was revoked before.
func TestRevoke(t *testing.T) {
	a, err := Init(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"anna", "olga"} {
		if err := a.Client(name, control.Admin, ClientTime, ""); err != nil {
			t.Fatal(err)
		}
	}
	all, err := a.Clients()
	if err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	for i, cert := range []*x509.Certificate{all[0], all[1], all[0]} {
		if a.Revoked(cert) != (i == 2) {
			t.Errorf("certificate %d is revoked: %v", i, !(i == 2))
		}
		if err := a.Revoke(cert); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(filepath.Join(a.Dir(), gate.RevokedFile))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	list, err := x509.ParseRevocationList(block.Bytes)
	if err != nil || len(list.RevokedCertificateEntries) != 2 || list.CheckSignatureFrom(a.cert) != nil {
		t.Errorf("%+v, %v", list, err)
	}
}
