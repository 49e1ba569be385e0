package pid1

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"keelson/testvm/nstest"
	"keelson/testvm/tier"
)

// Bad parameters and a missing device do not prevent the configuration of others and do
// not delay the boot. The device is configured when it appears.
func TestLateNetworkDevice(t *testing.T) {
	dir := system(t, map[string]string{"etc/resolv.conf": "-> /run/r/resolv.conf"})
	tier.Tool(t, "nsenter", "util-linux")
	container(t, dir, "/containers/onboot/000-one", "echo one")
	container(t, dir, "/containers/services/web", "exec sleep 1000")
	const late = "192.0.2.10::172.31.1.1:255.255.255.255:box:late0:none:1.1.1.1"
	s := nstest.Boot(t, dir, nstest.Options{CmdLine: "ip=10.0.0:::24 ip=dhcp,1,client-id ip=" + late + " ip=::::::off nameserver=9.9.9.9"})
	if e := s.Stage(timelineReady...); e.Stage != "ready" {
		t.Errorf("got %v", e)
	}
	s.Line("not configured", "field client of ip=10.0.0:::24")
	s.Line("DHCP client", "ip=dhcp,1,client-id")
	s.Line("a network device is missing", "ip="+late)
	if got := s.File("/run/r/resolv.conf"); got != "nameserver 1.1.1.1\nnameserver 9.9.9.9\n" {
		t.Errorf("resolv.conf is %q", got)
	}
	busybox, err := exec.LookPath("busybox")
	must(t, err)
	inside := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("nsenter", append([]string{"-t", strconv.Itoa(s.PID()), "-n", "-u", "--", busybox}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	if got := strings.TrimSpace(inside("hostname")); got != "box" {
		t.Errorf("host name %s", got)
	}
	inside("ip", "link", "add", "late0", "type", "veth")
	s.Line("network late0: ip=" + late)
	if got := inside("ip", "route"); !strings.Contains(got, "default via 172.31.1.1 dev late0") {
		t.Errorf("routes:\n%s", got)
	}
	s.Output("/usr/bin/service", "poweroff")
	if code := s.Wait(); code != codeDone {
		t.Errorf("exit code %d", code)
	}
}
