package chaos

import (
	"context"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/timeline"
	"keelson/testvm/agent"
	"keelson/testvm/image"
	"keelson/testvm/qemu"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

// machine is a system in a machine.
type machine struct {
	*vmtest.VM
	agent *agent.Client
}

func bootMachine(t *testing.T, out image.Output) system {
	t.Helper()
	v := vmtest.Boot(t, vmtest.Fast(t, vm.Config{Config: qemu.Config{
		Arch: qemu.AMD64, Kernel: out.Kernel, Initrd: out.Initrd, Append: out.Cmdline, Memory: 1024,
		Publish: []qemu.Forward{{Guest: redisPort}},
	}}))
	v.Stage(timeline.Ready)
	return system{machine{v, v.Client()}}
}

func (m machine) slow() time.Duration {
	if m.Accel() == qemu.KVM {
		return 1
	}
	return 10
}

func (m machine) extra() []string { return []string{"agent"} }

func (m machine) processes() ([]process, error) {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	list, err := m.agent.Processes(ctx)
	if err != nil {
		return nil, err
	}
	all := map[int]process{}
	var agents []int
	for _, p := range list {
		all[p.PID] = process{pid: p.PID, parent: p.PPID, args: p.Args}
		if len(p.Args) > 0 && p.Args[0] == "/usr/bin/agent" {
			agents = append(agents, p.PID)
		}
	}
	// Programs that the test runs are children of the agent.
	for _, pid := range agents {
		for _, p := range below(all, pid) {
			delete(all, p.pid)
		}
		delete(all, pid)
	}
	return below(all, 1), nil
}

func (m machine) kill(pid int, s syscall.Signal) {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	_ = m.agent.Signal(ctx, pid, int(s))
}

func (m machine) run(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	r, err := m.agent.Exec(ctx, agent.ExecArgs{Args: args, Timeout: answerTime})
	if err == nil && (r.Code != 0 || r.Signal != "") {
		err = fmt.Errorf("%q: exit code %d %s: %s", args, r.Code, r.Signal, strings.TrimSpace(r.Stderr))
	}
	return r.Stdout, err
}

func (m machine) readFile(path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	return m.agent.ReadFile(ctx, path)
}

func (m machine) writeFile(path string, text []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	return m.agent.WriteFile(ctx, path, text, 0o644)
}

func (m machine) dial(port int) (net.Conn, error) {
	return net.DialTimeout("tcp", m.Addr(port), time.Minute)
}

func (m machine) powerOff(*testing.T) {
	m.SignalInit(int(unix.SIGUSR2))
	m.Exit(vm.PoweredDown)
}
