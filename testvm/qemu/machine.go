package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/procfs"
)

// startDeadline bounds the time until QEMU answers on its control socket.
const startDeadline = 2 * time.Minute

// Machine is a running QEMU.
type Machine struct {
	Config  Config             // as completed
	Console io.ReadWriteCloser // the guest's serial console; in virtual time it takes no input
	Agent   net.Conn           // the guest's virtio-serial port AgentPort
	QMP     *QMP

	proc *os.Process
	done chan struct{}
	err  error         // of the process; valid when done is closed
	used time.Duration // its processor time; valid when done is closed

	mu       sync.Mutex
	shutdown string // reason of the SHUTDOWN event
}

// Start starts a machine. ctx bounds only the start. The machine runs until the guest
// ends, Kill is called, or this process ends.
func Start(ctx context.Context, c Config) (*Machine, error) {
	c, err := complete(ctx, c)
	if err != nil {
		return nil, err
	}
	if len(c.Publish) > 0 {
		publishing.Lock()
		defer publishing.Unlock()
		if c.Publish, err = withPorts(c.Publish); err != nil {
			return nil, err
		}
	}
	return launch(ctx, c)
}

// publishing is held from the choice of free ports until QEMU listens on them, so that no
// other machine of this process gets the same.
var publishing sync.Mutex

// complete sets everything that Args needs, except free ports, and makes missing disks.
func complete(ctx context.Context, c Config) (Config, error) {
	c, err := c.withDefaults()
	if err != nil {
		return c, err
	}
	for _, d := range c.Disks {
		if err := d.create(); err != nil {
			return c, err
		}
	}
	if c.Accel == "" {
		c.Accel, err = Accelerator(ctx, c.Arch, c.Kernel)
	}
	return c, err
}

func launch(ctx context.Context, c Config) (*Machine, error) {
	program, pkg := Program(c.Arch)
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, fmt.Errorf("cannot start a machine: %s is missing (Debian package %s)", program, pkg)
	}
	s, err := newSockets(c.VirtualTime)
	if err != nil {
		return nil, err
	}
	defer s.closeRemote()
	m := &Machine{Config: c, Console: s.console, Agent: s.agent, done: make(chan struct{})}
	stderr := &tail{limit: 8 << 10}
	cmd := exec.Command(path, Args(c)...)
	cmd.ExtraFiles = s.remote
	cmd.Stderr, cmd.Stdout = stderr, stderr
	// In its own process group QEMU does not receive the terminal's ctrl-C.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := m.run(cmd, stderr); err != nil {
		s.closeLocal()
		return nil, err
	}
	s.closeRemote()
	return m, m.connect(ctx, s.qmp)
}

// run starts QEMU from a thread that exists until QEMU ends, because Pdeathsig refers to
// the parent thread, not the process.
func (m *Machine) run(cmd *exec.Cmd, stderr *tail) error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- fmt.Errorf("cannot start %s: %w", cmd.Path, err)
			return
		}
		m.proc = cmd.Process
		started <- nil
		if err := cmd.Wait(); err != nil {
			m.err = fmt.Errorf("QEMU ended: %w: %s", err, stderr.String())
		}
		if s := cmd.ProcessState; s != nil {
			m.used = s.UserTime() + s.SystemTime()
		}
		close(m.done)
	}()
	return <-started
}

// connect opens the control protocol. If QEMU ends meanwhile, the error has its output.
func (m *Machine) connect(ctx context.Context, conn net.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	q, err := NewQMP(ctx, conn, m.event)
	if err == nil {
		m.QMP = q
		return nil
	}
	m.Kill()
	if m.err != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = m.err
	}
	return fmt.Errorf("cannot start a machine: %w", err)
}

func (m *Machine) event(e Event) {
	if e.Name != "SHUTDOWN" {
		return
	}
	reason, _ := e.Data["reason"].(string)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shutdown == "" {
		m.shutdown = reason
	}
}

// ShutdownReason returns QMP's reason for the machine's end (guest-shutdown, guest-reset,
// host-qmp-quit, …), or "" while it runs.
func (m *Machine) ShutdownReason() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.shutdown
}

// Done is closed when QEMU has ended.
func (m *Machine) Done() <-chan struct{} { return m.done }

// Err returns, once Done is closed, an error if QEMU failed.
func (m *Machine) Err() error {
	select {
	case <-m.done:
		return m.err
	default:
		return nil
	}
}

// CPUTime returns the processor time QEMU has used so far, or in all if it has ended.
func (m *Machine) CPUTime() time.Duration {
	select {
	case <-m.done:
		return m.used
	default:
	}
	used, _ := procfs.ReadCPUTime("/proc", m.proc.Pid)
	return used
}

// HasButton reports whether the machine has a power button.
func (m *Machine) HasButton() bool { return machines[m.Config.Machine].board == nil }

// Powerdown presses the power button. On s390x the service processor signals quiesce: the
// kernel sends PID 1 a SIGINT and turns the reboot that follows into a power-down
// (drivers/s390/char/sclp_quiesce.c).
func (m *Machine) Powerdown(ctx context.Context) error {
	if !m.HasButton() {
		return fmt.Errorf("%s has no power button", m.Config.Machine)
	}
	if keyButton(m.Config) {
		return m.Press(ctx, "power")
	}
	return m.QMP.Execute(ctx, "system_powerdown", nil, nil)
}

// Press presses keys together on the machine's keyboard, by QMP's names such as
// "ctrl" and "delete".
func (m *Machine) Press(ctx context.Context, keys ...string) error {
	var list []any
	for _, key := range keys {
		list = append(list, map[string]any{"type": "qcode", "data": key})
	}
	return m.QMP.Execute(ctx, "send-key", map[string]any{"keys": list}, nil)
}

// Plug adds a device, by the name of its QEMU driver such as "virtio-rng-pci", while the
// machine runs.
func (m *Machine) Plug(ctx context.Context, driver string) error {
	return m.PlugDevice(ctx, map[string]any{"driver": driver})
}

// PlugDevice is Plug for a device with properties beside "driver", such as "id", by which Unplug
// removes it.
func (m *Machine) PlugDevice(ctx context.Context, properties map[string]any) error {
	return m.QMP.Execute(ctx, "device_add", properties, nil)
}

// PlugDisk adds a disk with the content of a file, which it does not change, to a machine. driver
// is that of QEMU, such as virtio-blk-pci, and id the name for Unplug and the disk's serial number.
func (m *Machine) PlugDisk(ctx context.Context, driver, id, file string, more map[string]any) error {
	err := m.QMP.Execute(ctx, "blockdev-add", map[string]any{"driver": "raw", "node-name": id + "-content", "read-only": true,
		"file": map[string]any{"driver": "file", "filename": file}}, nil)
	if err != nil {
		return err
	}
	device := map[string]any{"driver": driver, "id": id, "drive": id + "-content", "serial": id}
	maps.Copy(device, more)
	return m.PlugDevice(ctx, device)
}

// PlugSerial is PlugDevice for a serial port to which nothing is attached.
func (m *Machine) PlugSerial(ctx context.Context, properties map[string]any) error {
	chardev := fmt.Sprint(properties["id"], "-end")
	if err := m.QMP.Execute(ctx, "chardev-add", map[string]any{"id": chardev, "backend": map[string]any{"type": "null", "data": map[string]any{}}}, nil); err != nil {
		return err
	}
	properties["chardev"] = chardev
	return m.PlugDevice(ctx, properties)
}

// Unplug asks the machine to release a device.
func (m *Machine) Unplug(ctx context.Context, id string) error {
	return m.QMP.Execute(ctx, "device_del", map[string]any{"id": id}, nil)
}

// PlugCPU adds a CPU to a machine that has Room for one.
func (m *Machine) PlugCPU(ctx context.Context) error {
	var slots []struct {
		Type  string         `json:"type"`
		Props map[string]any `json:"props"`
		Path  string         `json:"qom-path"` // of the CPU in it
	}
	if err := m.QMP.Execute(ctx, "query-hotpluggable-cpus", nil, &slots); err != nil {
		return err
	}
	for _, s := range slots {
		if s.Path == "" {
			s.Props["driver"] = s.Type
			return m.QMP.Execute(ctx, "device_add", s.Props, nil)
		}
	}
	return errors.New("cannot plug a CPU: there is no free slot")
}

// PlugMemory adds memory, in MiB, to a machine with Room for it.
func (m *Machine) PlugMemory(ctx context.Context, size int) error {
	err := m.QMP.Execute(ctx, "object-add", map[string]any{"qom-type": "memory-backend-ram", "id": "plugged", "size": size << 20}, nil)
	if err != nil {
		return err
	}
	return m.QMP.Execute(ctx, "device_add", map[string]any{"driver": "pc-dimm", "memdev": "plugged"}, nil)
}

// Kill kills the machine and waits for its end.
func (m *Machine) Kill() {
	_ = m.proc.Kill() // an error means that it has ended
	<-m.done
	_ = m.Console.Close()
	_ = m.Agent.Close()
}

// Cut ends the machine like a power cut. The machine is stopped first, so that each write
// of QEMU to a file is either complete or missing.
func (m *Machine) Cut() {
	if m.proc.Signal(syscall.SIGSTOP) == nil {
		var info unix.Siginfo
		for unix.Waitid(unix.P_PID, m.proc.Pid, &info, unix.WSTOPPED|unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
		}
	}
	m.Kill()
}
