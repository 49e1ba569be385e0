package tests

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"keelson/testvm/agent"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

// limited is an image with a service that takes as much as it can of the resources that
// the kernel limits per user or in total, and another that needs one of each. Both run as
// root, with only the capability that is necessary to be root of a user namespace.
const limited = `
services:
  AGENT
  - name: greedy
    image: dir:PAYLOAD
    command: ["/testapp", "greedy"]
    binds: ["/run:/run"]
    capabilities: [CAP_SETFCAP]
    annotations:
      keelson.ready: log:^took
      keelson.stop.timeout: 1ms
  - name: modest
    image: dir:PAYLOAD
    command: ["/testapp", "use"]
    binds: ["/run:/run"]
    capabilities: [CAP_SETFCAP]
    annotations:
      keelson.ready: exec:/testapp help
      keelson.stop.timeout: 1ms
`

// greedyKinds are the resources, and how many of each greedy must get; 0: it takes them
// until the kernel refuses.
var greedyKinds = []struct {
	name string
	most int
}{
	{"instances", 2000}, {"watches", 10000}, {"epoll", 120000}, {"terminals", 3200}, {"signals", 2200}, {"pipes", 0},
	{"files", 60000}, {"queues", 100}, {"threads", 4400}, {"namespaces", 2200}, {"keys", 0},
}

// While a service has taken all that it can get of one resource, other services can be
// started, stopped, restarted and logged, their probes run commands, and they get what
// they need of the same resource. The machine shuts down cleanly at the end.
func TestLimitsExhausted(t *testing.T) {
	t.Parallel()
	c := machine2(t, build(t, "limited", limited))
	c.Memory = 512
	v := vmtest.Boot(t, c)
	v.Stage("ready")
	for _, name := range []string{"user", "pid", "net", "time"} { // It would take minutes to make thousands of these.
		if got := v.File("/proc/sys/user/max_" + name + "_namespaces"); got != "2147483647\n" {
			t.Errorf("the limit of %s namespaces is %s", name, got)
		}
	}
	for _, kind := range greedyKinds {
		t.Run(kind.name, func(t *testing.T) { exhaustOne(t, v, kind.name, kind.most) })
	}
	v.Line(`no key is left`)
	if log := v.File("/var/log/containerd.log"); strings.Contains(log, "too many open files") || strings.Contains(log, "no space left") {
		t.Errorf("containerd or a shim exceeded a limit:\n%s", log)
	}
	v.SignalInit(sigUSR2)
	v.Exit(vm.PoweredDown)
}

func exhaustOne(t *testing.T, v *vmtest.VM, kind string, most int) {
	ctx := vmtest.Context(t)
	if err := v.Client().WriteFile(ctx, "/run/greedy-kind", []byte(kind), 0o644); err != nil {
		t.Fatal(err)
	}
	inGuest(t, v, "/usr/bin/service", "restart", "greedy")
	took := regexp.MustCompile(`(?m)^took (\d+) of ` + kind + `$`).FindStringSubmatch(v.File("/var/log/greedy.out.log"))
	if took == nil || most > 0 && took[1] != fmt.Sprint(most) {
		t.Errorf("greedy took %v, want %d: other services would be refused the same", took, most)
	}
	t.Logf("greedy took %v", took)
	client, followed := v.Client(), make(chan error, 1)
	go func() {
		r, err := client.Exec(ctx, agent.ExecArgs{Args: []string{"/containers/services/agent/rootfs/testapp", "until",
			"while " + kind + " are taken: all works", "/usr/bin/service", "logs", "-f", "modest"}})
		if err == nil && r.Code != 0 {
			err = fmt.Errorf("%+v", r)
		}
		followed <- err
	}()
	inGuest(t, v, "/usr/bin/service", "stop", "modest")
	inGuest(t, v, "/usr/bin/service", "start", "modest")
	if got := inGuest(t, v, "/usr/bin/service", "list"); !regexp.MustCompile(`modest +running`).MatchString(got) {
		t.Errorf("modest does not run: %s", got)
	}
	if err := <-followed; err != nil {
		t.Errorf("service logs -f: %v; the log of modest:\n%s", err, v.File("/var/log/modest.out.log"))
	}
}

// inGuest runs a command in the guest that must succeed, and returns its output.
func inGuest(t *testing.T, v *vmtest.VM, args ...string) string {
	t.Helper()
	r, err := v.Client().Exec(vmtest.Context(t), agent.ExecArgs{Args: args})
	if err != nil {
		t.Fatal(err)
	}
	if r.Code != 0 || r.Signal != "" {
		t.Errorf("%v: %+v", args, r)
	}
	return r.Stdout
}
