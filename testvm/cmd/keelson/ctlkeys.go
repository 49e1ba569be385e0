package main

import (
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"keelson/services/control"
	"keelson/services/gate"
	"keelson/services/gate/keys"
)

// keysCmd makes certificates in a folder.
type keysCmd struct {
	Init   keysInitCmd   `cmd:"" help:"Make an authority, the credentials of the gate and those of a first client, an admin."`
	Client keysClientCmd `cmd:"" help:"Make a certificate for a client, or a new one."`
	Server keysServerCmd `cmd:"" help:"Make a new certificate for the gate."`
	Revoke keysRevokeCmd `cmd:"" help:"Revoke the certificate of a client."`
	List   keysListCmd   `cmd:"" help:"List the certificates."`
}

type keysInitCmd struct {
	Hosts  []string `name:"host" help:"Name or IP address under which clients reach the gate; may be repeated. localhost and loopback addresses are always included." placeholder:"HOST"`
	Client string   `default:"admin" help:"Name of the first client (default: ${default})." placeholder:"NAME"`
}

// Run makes an authority and what is needed to begin with.
func (c *keysInitCmd) Run(ctl *ctlCmd) error {
	a, err := keys.Init(ctl.Keys)
	if err == nil {
		err = a.Server(c.Hosts, keys.ServerTime)
	}
	if err == nil {
		err = a.Client(c.Client, control.Admin, keys.ClientTime, "")
	}
	if err != nil {
		return err
	}
	files := keys.FilesOf(ctl.Keys, c.Client)
	fmt.Printf("%s: what the machine gets\n%s, %s: the client %s (admin)\n%s: the authority's key; keep it away from machines\n",
		a.Dir(), files.Cert, files.Key, c.Client, filepath.Join(ctl.Keys, "ca.key"))
	return nil
}

type keysClientCmd struct {
	Name  string        `arg:"" help:"Name of the client, for logs and events."`
	Role  string        `required:"" enum:"${roles}" help:"What the client may do: ${enum}." placeholder:"ROLE"`
	Valid time.Duration `default:"2160h" help:"How long the certificate is valid (default: ${default}, 90 days)." placeholder:"TIME"`
	P12   bool          `name:"p12" help:"Also make a file that browsers import, and print its password."`
}

// Run makes a certificate for a client.
func (c *keysClientCmd) Run(ctl *ctlCmd) error {
	a, err := keys.Open(ctl.Keys)
	if err != nil {
		return err
	}
	role, err := control.ParseRole(c.Role)
	if err != nil {
		return err
	}
	password := ""
	if c.P12 {
		password = rand.Text()
	}
	if err := a.Client(c.Name, role, c.Valid, password); err != nil {
		return err
	}
	files := keys.FilesOf(ctl.Keys, c.Name)
	fmt.Printf("%s, %s\n", files.Cert, files.Key)
	if c.P12 {
		fmt.Printf("%s, password: %s\n", files.P12, password)
	}
	return nil
}

type keysServerCmd struct {
	Hosts []string      `name:"host" help:"Name or IP address under which clients reach the gate; may be repeated." placeholder:"HOST"`
	Valid time.Duration `default:"8760h" help:"How long the certificate is valid (default: ${default}, a year)." placeholder:"TIME"`
}

// Run makes a certificate for the gate.
func (c *keysServerCmd) Run(ctl *ctlCmd) error {
	a, err := keys.Open(ctl.Keys)
	if err == nil {
		err = a.Server(c.Hosts, c.Valid)
	}
	if err == nil {
		fmt.Printf("%s: what the machine gets\n", a.Dir())
	}
	return err
}

type keysRevokeCmd struct {
	Name string `arg:"" help:"Name of the client, or the file with the certificate."`
}

// Run revokes a certificate.
func (c *keysRevokeCmd) Run(ctl *ctlCmd) error {
	a, err := keys.Open(ctl.Keys)
	if err != nil {
		return err
	}
	path := c.Name
	if gate.CheckName(c.Name) == nil {
		path = keys.FilesOf(ctl.Keys, c.Name).Cert
	}
	cert, err := keys.Certificate(path)
	if err == nil {
		err = a.Revoke(cert)
	}
	if err == nil {
		fmt.Printf("%s: copy it to the machine\n", filepath.Join(a.Dir(), gate.RevokedFile))
	}
	return err
}

type keysListCmd struct{}

// Run lists certificates.
func (keysListCmd) Run(ctl *ctlCmd) error {
	a, err := keys.Open(ctl.Keys)
	if err != nil {
		return err
	}
	clients, err := a.Clients()
	if err != nil {
		return err
	}
	server, err := keys.Certificate(filepath.Join(a.Dir(), gate.CertFile))
	if err != nil {
		return err
	}
	return listKeys(os.Stdout, server, clients, a.Revoked)
}

// listKeys prints a table of certificates.
func listKeys(w io.Writer, server *x509.Certificate, clients []*x509.Certificate, revoked func(*x509.Certificate) bool) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tROLE\tEXPIRES\t")
	row := func(name, role string, cert *x509.Certificate) {
		note := ""
		switch {
		case revoked(cert):
			note = "revoked"
		case time.Now().After(cert.NotAfter):
			note = "expired"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", name, role, cert.NotAfter.Local().Format("2006-01-02 15:04"), note)
	}
	row("(gate)", "", server)
	for _, cert := range clients {
		role := "none"
		if client, err := gate.ClientOf(cert); err == nil {
			role = client.Role.String()
		}
		row(cert.Subject.CommonName, role, cert)
	}
	return t.Flush()
}
