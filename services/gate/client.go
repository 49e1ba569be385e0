package gate

import (
	"crypto/x509"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"keelson/services/control"
)

// RolePrefix begins the organization in the subject of a certificate that gives the role of its
// client. Certificates that were issued for other purposes have none.
const RolePrefix = "keelson:"

// namePattern is what may be the name of a client: it is in headers, in logs and in names of files.
var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$`)

// CheckName returns an error if name cannot be the name of a client.
func CheckName(name string) error {
	if !namePattern.MatchString(name) {
		return fmt.Errorf("%.80q cannot be the name of a client: use up to 64 letters, digits and . _ @ -, not at the start", name)
	}
	return nil
}

// Client is whoever has a certificate.
type Client struct {
	Name    string
	Role    control.Role
	Expires time.Time // when the certificate does
}

// ClientOf returns the client that a verified certificate names.
func ClientOf(cert *x509.Certificate) (Client, error) {
	c := Client{Name: cert.Subject.CommonName, Expires: cert.NotAfter}
	if err := CheckName(c.Name); err != nil {
		return Client{}, fmt.Errorf("the common name of the certificate: %w", err)
	}
	var err error
	for _, organization := range cert.Subject.Organization {
		name, ok := strings.CutPrefix(organization, RolePrefix)
		if !ok {
			continue
		}
		if c.Role != control.NoRole {
			return Client{}, fmt.Errorf("the certificate of %s has more than one role", c.Name)
		}
		if c.Role, err = control.ParseRole(name); err != nil {
			return Client{}, fmt.Errorf("the certificate of %s: %w", c.Name, err)
		}
	}
	if c.Role == control.NoRole {
		return Client{}, fmt.Errorf("the certificate of %s has no role: %w", c.Name, errNoRole)
	}
	return c, nil
}

var errNoRole = errors.New("its subject needs the organization " + RolePrefix + "ROLE")
