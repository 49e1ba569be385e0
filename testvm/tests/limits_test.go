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

// greedyKind is a resource, and how many of it greedy must get; 0: it takes them until the
// kernel refuses.
type greedyKind struct {
	name string
	most int
}

// greedyKinds are resources that are taken at the same time, as the memory allows.
var greedyKinds = [][]greedyKind{
	{{"instances", 2000}, {"watches", 10000}, {"epoll", 120000}, {"signals", 2200}, {"queues", 100}, {"files", 60000}},
	{{"terminals", 3200}, {"pipes", 0}, {"namespaces", 2200}},
	{{"threads", 4400}},
	{{"keys", 0}},
}

// While a service has taken all that it can get of some resources, other services can be
// started, stopped, restarted and logged, their probes run commands, and they get what
// they need of the same resources. The machine shuts down cleanly at the end.
func TestLimitsExhausted(t *testing.T) {
	t.Parallel()
	c := machine(t, build(t, "limited", limited))
	c.Memory = 512
	v := vmtest.Boot(t, c)
	v.Stage("ready")
	for _, name := range []string{"user", "pid", "net", "time"} { // It would take minutes to make thousands of these.
		if got := v.File("/proc/sys/user/max_" + name + "_namespaces"); got != "2147483647\n" {
			t.Errorf("the limit of %s namespaces is %s", name, got)
		}
	}
	if got := v.File("/proc/sys/kernel/panic"); got != "10\n" { // Whatever the services do, a panic ends in a reboot.
		t.Errorf("the kernel reboots %s s after a panic", got)
	}
	for _, kinds := range greedyKinds {
		var names []string
		for _, k := range kinds {
			names = append(names, k.name)
		}
		t.Run(strings.Join(names, " "), func(t *testing.T) { exhaust(t, v, kinds, strings.Join(names, " ")) })
	}
	until(t, func() string { // Modest keeps its key, or gets it again, unless greedy takes all while modest has none.
		if strings.Contains(v.Console(), "no key is left") {
			return ""
		}
		inGuest(t, v, "/usr/bin/service", "stop", "modest")
		inGuest(t, v, "/usr/bin/service", "restart", "greedy")
		inGuest(t, v, "/usr/bin/service", "start", "modest")
		return "modest always gets a key"
	})
	if log := v.File("/var/log/containerd.log"); strings.Contains(log, "too many open files") || strings.Contains(log, "no space left") {
		t.Errorf("containerd or a shim exceeded a limit:\n%s", log)
	}
	v.SignalInit(sigUSR2)
	v.Exit(vm.PoweredDown)
}

func exhaust(t *testing.T, v *vmtest.VM, kinds []greedyKind, names string) {
	ctx := vmtest.Context(t)
	if err := v.Client().WriteFile(ctx, "/run/greedy-kinds", []byte(names), 0o644); err != nil {
		t.Fatal(err)
	}
	inGuest(t, v, "/usr/bin/service", "restart", "greedy")
	log := v.File("/var/log/greedy.out.log")
	for _, kind := range kinds {
		took := regexp.MustCompile(`(?m)^took (\d+) of ` + kind.name + `$`).FindStringSubmatch(log)
		if took == nil || kind.most > 0 && took[1] != fmt.Sprint(kind.most) {
			t.Errorf("greedy took %v, want %d: other services would be refused the same", took, kind.most)
		}
		t.Logf("greedy took %v", took)
	}
	client, followed := v.Client(), make(chan error, 1)
	go func() {
		r, err := client.Exec(ctx, agent.ExecArgs{Args: []string{"/containers/services/agent/rootfs/testapp", "until",
			"while " + names + " are taken: all works", "/usr/bin/service", "logs", "-f", "modest"}})
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
