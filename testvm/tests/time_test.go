package tests

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/timeline"
	"keelson/testvm/image"
	"keelson/testvm/nstest"
	"keelson/testvm/qemu"
	"keelson/testvm/tier"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

// host is the machine of the test, seen from QEMU's user network.
const host = "10.0.2.2"

// examples/time.yml keeps the clock by the time of an NTS server, which is another chrony on the host. Services that
// wait for the clock start, and a clock that is wrong later, as that of a virtual machine that was suspended, is
// set again.
func TestTime(t *testing.T) {
	t.Parallel()
	tier.Root(t) // chroot(2)
	if runtime.GOARCH != qemu.AMD64 {
		tier.Skip(t, "VM tier: the server runs on the host, with the programs of an amd64 image")
	}
	keys, ntp, ke := t.TempDir(), freePort(t), freePort(t)
	certificate(t, keys)
	out := timeImage(t, keys, ntp, ke)
	serveTime(t, out, keys, ntp, ke)
	c := machine(t, out)
	c.RTC = at2033
	v := vmtest.Boot(t, c)
	v.Stage(timeline.Ready)
	right := func(what string) {
		t.Helper()
		until(t, func() string {
			now := seconds(t, v.Output("/bin/busybox", "date", "+%s"))
			if off := time.Since(time.Unix(now, 0)).Abs(); off > 10*time.Minute {
				return fmt.Sprintf("%s, the clock is wrong by %v; the log:\n%s", what, off, v.File("/var/log/time.log")+v.File("/var/log/time.out.log"))
			}
			return ""
		})
	}
	if loaded := v.File("/proc/modules"); !strings.Contains(loaded, "\ndummy ") && !strings.HasPrefix(loaded, "dummy ") {
		t.Errorf("the driver that softdep names is not loaded:\n%s", loaded)
	}
	right("after the boot")
	until(t, func() string {
		if list := inGuest(t, v, "/usr/bin/service", "list"); !regexp.MustCompile(`waits +running`).MatchString(list) {
			return "the service that waits for the clock does not run:\n" + list
		}
		return ""
	})
	if got := inGuest(t, v, "/usr/bin/service", "exec", "time", "/usr/bin/chronyc", "-n", "authdata"); !regexp.MustCompile(regexp.QuoteMeta(host) + ` +NTS +[1-9]`).MatchString(got) {
		t.Errorf("the server is not authenticated:\n%s", got)
	}
	for _, p := range processes(t, v) {
		if len(p.Args) > 0 && p.Args[0] == "/usr/sbin/chronyd" {
			if status := v.File(fmt.Sprintf("/proc/%d/status", p.PID)); !strings.Contains(status, "CapEff:\t0000000002000000\n") || !strings.Contains(status, "Seccomp:\t2\n") {
				t.Errorf("chronyd has more than CAP_SYS_TIME, or no filter:\n%s", status)
			}
		}
	}
	v.Output("/bin/busybox", "date", "-s", fmt.Sprintf("@%d", time.Now().Add(-5*time.Hour).Unix()))
	right("after it was set back by hours")
	v.SignalInit(sigUSR2)
	v.Exit(vm.PoweredDown)
}

// timeImage builds the example with another server.
func timeImage(t *testing.T, keys string, ntp, ke int) image.Output {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(vmtest.Repository(t), "examples/time.yml"))
	if err != nil {
		t.Fatal(err)
	}
	servers := regexp.MustCompile(`(?m)^( +)server (.*\n +server .*)*$`)
	if !servers.Match(text) {
		t.Fatal("examples/time.yml has another form")
	}
	sections := servers.ReplaceAllString(string(text), fmt.Sprintf("${1}server %s port %d ntsport %d iburst nts minpoll 0 maxpoll 0\n${1}ntstrustedcerts /etc/chrony/server.crt", host, ntp, ke))
	sections = strings.Replace(sections, "services:\n", `services:
  AGENT
  - name: waits
    image: dir:PAYLOAD
    command: ["/testapp", "sleep"]
    readonly: true
    annotations: {keelson.after: clock}
`, 1)
	crt, err := os.ReadFile(filepath.Join(keys, "server.crt"))
	if err != nil {
		t.Fatal(err)
	}
	// Drivers that no device asks for, as in docs/time.md. ptp_kvm fails unless the machine runs under KVM.
	files := overlay(t, "time-root", map[string]string{"etc/time/server.crt": string(crt), "etc/modprobe.d/ptp.conf": "softdep virtio_pci post: ptp_kvm dummy\n"})
	return buildFor(t, target{arch: qemu.AMD64, compression: image.None, modules: "default, ptp_kvm, dummy"}, "time", sections, files)
}

// serveTime runs the chrony of the image on the host, without touching the host's clock.
func serveTime(t *testing.T, out image.Output, keys string, ntp, ke int) {
	t.Helper()
	tree := filepath.Join(t.TempDir(), "root")
	nstest.Unpack(t, out.Initrd, tree)
	root := filepath.Join(tree, "containers/services/time/rootfs")
	for _, name := range []string{"server.crt", "server.key"} {
		text, err := os.ReadFile(filepath.Join(keys, name))
		if err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(root, "etc/server", name), text, 0o600)
	}
	put(t, filepath.Join(root, "etc/server/chrony.conf"), fmt.Appendf(nil, `
port %d
ntsport %d
bindaddress 127.0.0.1
allow
local stratum 2
ntsservercert /etc/server/server.crt
ntsserverkey /etc/server/server.key
cmdport 0
bindcmdaddress /
pidfile /run/server.pid
`, ntp, ke), 0o644)
	if err := unix.Mknod(filepath.Join(root, "dev/urandom"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 9))); err != nil {
		t.Fatal(err)
	}
	server := exec.Command("/usr/sbin/chronyd", "-d", "-x", "-u", "root", "-f", "/etc/server/chrony.conf")
	server.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Setpgid: true, Pdeathsig: syscall.SIGKILL}
	server.Dir = "/"
	log := &strings.Builder{}
	server.Stdout, server.Stderr = log, log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-server.Process.Pid, syscall.SIGKILL) // With its helper.
		_ = server.Wait()                                      // It was killed.
		if t.Failed() {
			t.Logf("the server:\n%s", log)
		}
	})
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// certificate makes a key and a certificate of the host, which is valid whatever the clock says.
func certificate(t *testing.T, dir string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, IPAddresses: []net.IP{net.ParseIP(host)},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	must(err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(err)
	put(t, filepath.Join(dir, "server.crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600)
	put(t, filepath.Join(dir, "server.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600)
}
