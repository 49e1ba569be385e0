package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"time"

	"keelson/runtime/timeline"
	"keelson/testvm/agent"
	"keelson/testvm/qemu"
)

// Config is a machine and the destination of its console output.
type Config struct {
	qemu.Config
	Output io.Writer // receives everything the console prints; may be nil
}

// VM is a booted machine.
type VM struct {
	machine *qemu.Machine
	console *transcript
	agent   *agent.Client
}

// Boot starts a machine. ctx bounds only the start. Close must be called.
func Boot(ctx context.Context, c Config) (*VM, error) {
	m, err := qemu.Start(ctx, c.Config)
	if err != nil {
		return nil, err
	}
	v := &VM{machine: m, console: newTranscript(c.Output), agent: agent.NewClient(m.Agent)}
	go v.console.copyFrom(m.Console)
	return v, nil
}

// Close kills the machine if it still runs, and waits for its end.
func (v *VM) Close() {
	v.machine.Kill()
	<-v.console.ended
}

// Cut cuts the machine's power, and waits for its end. Package powercut decides which
// writes its disks keep.
func (v *VM) Cut() {
	v.machine.Cut()
	<-v.console.ended
}

// Console returns everything the console has printed.
func (v *VM) Console() string { return v.console.String() }

// Tail returns the last n lines of the console.
func (v *VM) Tail(n int) []string { return v.console.tail(n) }

// Write types on the guest's console.
func (v *VM) Write(p []byte) (int, error) { return v.machine.Console.Write(p) }

// Press presses keys together on the machine's keyboard.
func (v *VM) Press(ctx context.Context, keys ...string) error { return v.machine.Press(ctx, keys...) }

// Plug adds a device, by the name of its QEMU driver, while the machine runs.
func (v *VM) Plug(ctx context.Context, driver string) error { return v.machine.Plug(ctx, driver) }

// PlugDevice adds a device with properties, as [qemu.Machine.PlugDevice].
func (v *VM) PlugDevice(ctx context.Context, properties map[string]any) error {
	return v.machine.PlugDevice(ctx, properties)
}

// PlugDisk adds a disk with the content of a file while the machine runs, as [qemu.Machine.PlugDisk].
func (v *VM) PlugDisk(ctx context.Context, driver, id, file string, more map[string]any) error {
	return v.machine.PlugDisk(ctx, driver, id, file, more)
}

// PlugSerial adds a serial port, as [qemu.Machine.PlugSerial].
func (v *VM) PlugSerial(ctx context.Context, properties map[string]any) error {
	return v.machine.PlugSerial(ctx, properties)
}

// Unplug asks the machine to release a device.
func (v *VM) Unplug(ctx context.Context, id string) error { return v.machine.Unplug(ctx, id) }

// PlugCPU adds a CPU while the machine runs.
func (v *VM) PlugCPU(ctx context.Context) error { return v.machine.PlugCPU(ctx) }

// PlugMemory adds memory, in MiB, while the machine runs.
func (v *VM) PlugMemory(ctx context.Context, size int) error { return v.machine.PlugMemory(ctx, size) }

// Accel returns the accelerator of the machine.
func (v *VM) Accel() string { return v.machine.Config.Accel }

// Arch returns the machine's architecture.
func (v *VM) Arch() string { return v.machine.Config.Arch }

// HasButton reports whether the machine has a power button.
func (v *VM) HasButton() bool { return v.machine.HasButton() }

// CPUTime returns the processor time the machine has used so far.
func (v *VM) CPUTime() time.Duration { return v.machine.CPUTime() }

// Addr returns the host's address of a published port of the guest, or "" if the port
// is not published.
func (v *VM) Addr(guestPort int) string {
	for _, f := range v.machine.Config.Publish {
		if f.Guest == guestPort {
			return fmt.Sprintf("127.0.0.1:%d", f.Host)
		}
	}
	return ""
}

// WaitConsole waits for a line that matches, printed before or after the call,
// and returns it.
func (v *VM) WaitConsole(ctx context.Context, re *regexp.Regexp) (string, error) {
	return v.waitLine(ctx, fmt.Sprintf("a line matching %q", re), func(line string, _ bool) (bool, error) {
		return re.MatchString(line), nil
	})
}

// ErrStage is returned when a guest fails before the stage that is waited for.
var ErrStage = errors.New("the guest did not reach the stage")

// WaitStage waits for the first boot event of one of the given stages. Unless they are
// among them, fatal is a failure, and so is degraded when ready is waited for.
func (v *VM) WaitStage(ctx context.Context, stages ...string) (timeline.Event, error) {
	var found timeline.Event
	_, err := v.waitLine(ctx, fmt.Sprintf("stage %v", stages), func(line string, whole bool) (bool, error) {
		e, ok := timeline.ParseLine(line)
		if !ok || !whole {
			return false, nil
		}
		if slices.Contains(stages, e.Stage) {
			found = e
			return true, nil
		}
		bad := e.Stage == timeline.Fatal ||
			e.Stage == timeline.Degraded && slices.Contains(stages, timeline.Ready)
		if bad {
			return false, fmt.Errorf("%w: %s: %s", ErrStage, e.Stage, e.Result)
		}
		return false, nil
	})
	return found, err
}

// Timeline returns all boot events on the console.
func (v *VM) Timeline() []timeline.Event {
	var events []timeline.Event
	for _, line := range v.console.lines() {
		if e, ok := timeline.ParseLine(line); ok {
			events = append(events, e)
		}
	}
	return events
}

// Agent waits until the guest's agent answers and returns it.
func (v *VM) Agent(ctx context.Context) (*agent.Client, error) {
	if err := v.guarded(ctx, v.agent.Ping); err != nil {
		return nil, v.failure("reach the agent", err)
	}
	return v.agent, nil
}

// Exec runs a program in the guest. An exit code other than 0 is not an error.
func (v *VM) Exec(ctx context.Context, args ...string) (agent.ExecResult, error) {
	var r agent.ExecResult
	err := v.guarded(ctx, func(ctx context.Context) (err error) {
		r, err = v.agent.Exec(ctx, agent.ExecArgs{Args: args})
		return err
	})
	if err != nil {
		return r, v.failure(fmt.Sprintf("run %q", args), err)
	}
	return r, nil
}

// WriteFile writes a file of the guest.
func (v *VM) WriteFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	err := v.guarded(ctx, func(ctx context.Context) error { return v.agent.WriteFile(ctx, path, data, mode) })
	if err != nil {
		return v.failure("write "+path, err)
	}
	return nil
}

// ReadFile reads a file of the guest.
func (v *VM) ReadFile(ctx context.Context, path string) ([]byte, error) {
	var data []byte
	err := v.guarded(ctx, func(ctx context.Context) (err error) {
		data, err = v.agent.ReadFile(ctx, path)
		return err
	})
	if err != nil {
		return nil, v.failure("read "+path, err)
	}
	return data, nil
}

// KernelLog returns the guest's kernel log.
func (v *VM) KernelLog(ctx context.Context) (string, error) {
	var log string
	err := v.guarded(ctx, func(ctx context.Context) (err error) {
		log, err = v.agent.KernelLog(ctx)
		return err
	})
	if err != nil {
		return "", v.failure("read the kernel log", err)
	}
	return log, nil
}

// guarded runs f with a context that also ends when the guest panics or stops, because
// no answer can come then.
func (v *VM) guarded(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, err := v.console.wait(ctx, func(string, bool) (bool, error) { return false, nil })
		cancel(err)
	}()
	err := f(ctx)
	cause := context.Cause(ctx)
	cancel(nil)
	<-done
	if err != nil && cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w: %w", err, cause)
	}
	return err
}
