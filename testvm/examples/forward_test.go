package examples

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"keelson/runtime/timeline"
	"keelson/testvm/image"
	"keelson/testvm/nstest"
	"keelson/testvm/tier"
	"keelson/testvm/vm/vmtest"
)

func TestMain(m *testing.M) { os.Exit(nstest.Main(m)) }

// more are services beside those of the example: one that prints 100 numbers whenever /run/print
// exists, and the receiver, Debian's rsyslog too.
const more = `services:
  - name: numbers
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-c", "i=0; while :; do if busybox rm /run/print 2>/dev/null; then for j in $(busybox seq 100); do echo number $i; i=$((i+1)); done; fi; busybox sleep 0.1; done"]
    binds: ["/run:/run"]
  - name: receiver
    image: deb:rsyslog,rsyslog-relp
    command: ["/usr/sbin/rsyslogd", "-n", "-i", "NONE", "-f", "/etc/receiver/rsyslog.conf"]
    net: host
    binds: ["/etc/receiver:/etc/receiver:ro", "/run/received:/received", "/run/spool:/var/spool/rsyslog"]
    runtime:
      mkdir: [/run/received, /run/spool]
    annotations:
      keelson.restart: always
`

const receiver = `global(workDirectory="/var/spool/rsyslog" maxMessageSize="64k")
module(load="imrelp" tls.tlslib="openssl")
template(name="line" type="string" string="%rawmsg%\n")
input(type="imrelp" port="6514" tls="on" tls.caCert="/etc/receiver/ca.crt" tls.authMode="name" tls.permittedPeer=["machine"]
  tls.myCert="/etc/receiver/receiver.crt" tls.myPrivKey="/etc/receiver/receiver.key")
action(type="omfile" file="/received/messages" template="line")
`

// Logs arrive at Debian's rsyslog, and none is missing after the receiver was killed, and was
// away while more lines came than wait in memory.
func TestForwarding(t *testing.T) {
	tier.Root(t)
	s := nstest.Boot(t, forwarding(t), nstest.Options{Limit: time.Hour, Patience: 3 * time.Minute})
	s.Stage(timeline.Ready)
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(s.Root, "var/log/forward.log"))
			t.Logf("the forwarder:\n%.3000s", log)
		}
	})
	received := filepath.Join(s.Root, "run/received/messages")
	printed := 0
	print := func(n int) {
		t.Helper()
		for range n / 100 {
			printed += 100
			if err := os.WriteFile(filepath.Join(s.Root, "run/print"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			wait(t, "the service prints", func() bool {
				log, _ := os.ReadFile(filepath.Join(s.Root, "var/log/numbers.out.log"))
				return strings.HasSuffix(string(log), fmt.Sprintf("number %d\n", printed-1))
			})
		}
	}
	arrived := func() {
		t.Helper()
		wait(t, fmt.Sprintf("%d lines arrive", printed), func() bool { return count(received) == printed })
	}
	print(100)
	arrived()
	// The connection ends without a word, and what was not acknowledged is sent again.
	for _, p := range s.Named("rsyslogd", "/etc/receiver/rsyslog.conf") {
		s.Output("/bin/busybox", "kill", "-9", fmt.Sprint(p))
	}
	print(300)
	arrived()
	s.Output("/usr/bin/service", "stop", "receiver")
	print(tier.Extent(1500, 20_000))
	s.Output("/usr/bin/service", "start", "receiver")
	arrived()
	for _, want := range []string{
		`(?m)^<\d+>1 \d{4}-\d\d-\d\dT\S+ \S+ numbers - stdout - number 0$`, // RFC 5424, section 6.5
		`(?m)^<\d+>1 \S+ \S+ clock - stdout - \w+ \w+ +\d+ `,
		`(?m)^<\d+>1 \S+ \S+ containerd - stderr - `,
	} {
		if text, _ := os.ReadFile(received); !regexp.MustCompile(want).Match(text) {
			t.Errorf("no message matches %s in\n%.3000s", want, text)
		}
	}
	if text, _ := os.ReadFile(received); strings.Contains(string(text), " forward - ") {
		t.Error("the forwarder's own messages are forwarded")
	}
}

// forwarding makes the tree of the example, with keys, a receiver and a service that prints.
func forwarding(t *testing.T) (tree string) {
	t.Helper()
	yaml, err := os.ReadFile(filepath.Join(vmtest.Repository(t), "examples/forward.yml"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	makeKeys(t, filepath.Join(dir, "forward"))
	_, text, _ := strings.Cut(string(yaml), "\ninit:\n")
	_, text, ok := strings.Cut(text, "\nservices:\n")
	if !ok {
		t.Fatal("the example has no services")
	}
	text = "init: [keelson, \"deb:busybox-static\"]\n" + more + strings.ReplaceAll(text, "192.0.2.10", "127.0.0.1")
	for _, name := range []string{"ca.crt", "receiver.crt", "receiver.key"} {
		text += fmt.Sprintf("  - path: etc/receiver/%s\n    source: forward/%[1]s\n", name)
	}
	text += "  - path: etc/receiver/rsyslog.conf\n    contents: |\n      " + strings.ReplaceAll(strings.TrimSpace(receiver), "\n", "\n      ") + "\n"
	out, err := image.Build(t.Context(), image.Options{YAML: []byte(text), File: filepath.Join(dir, "forward.yml"), OutDir: dir,
		GuestRoot: nstest.GuestRoot(t)})
	if err != nil {
		t.Fatal(err)
	}
	tree = filepath.Join(dir, "root")
	nstest.Unpack(t, out.Initrd, tree)
	return tree
}

// count returns how many different numbers were received.
func count(path string) int {
	text, _ := os.ReadFile(path)
	numbers := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m) numbers - stdout - number (\d+)$`).FindAllStringSubmatch(string(text), -1) {
		numbers[m[1]] = true
	}
	return len(numbers)
}

func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not happen: " + what)
		}
	}
}

// makeKeys makes an authority, and keys of the machine and of the receiver.
func makeKeys(t *testing.T, dir string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(dir, 0o700))
	write := func(name, kind string, der []byte) {
		must(os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	}
	var authority *x509.Certificate
	var authorityKey *ecdsa.PrivateKey
	for i, name := range []string{"ca", "machine", "receiver"} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(err)
		cert := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			IsCA: i == 0, BasicConstraintsValid: true,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}
		if i == 0 {
			authority, authorityKey = cert, key
			cert.KeyUsage = x509.KeyUsageCertSign
		}
		der, err := x509.CreateCertificate(rand.Reader, cert, authority, &key.PublicKey, authorityKey)
		must(err)
		write(name+".crt", "CERTIFICATE", der)
		private, err := x509.MarshalPKCS8PrivateKey(key)
		must(err)
		write(name+".key", "PRIVATE KEY", private)
	}
}
