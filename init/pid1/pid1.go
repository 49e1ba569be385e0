package pid1

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"keelson/init/boot"
	"keelson/init/cmdline"
	"keelson/init/reaper"
	"keelson/init/step"
	"keelson/mounts"
	"keelson/runtime/console"
	"keelson/runtime/oomscore"
	"keelson/runtime/timeline"
	"keelson/runtime/userspace"
)

// pid1 is the first process's state, owned by the goroutine of Main; keepers,
// the reaper and the signal watch have goroutines of their own.
type pid1 struct {
	line    cmdline.Line
	console *console.Console
	log     *slog.Logger
	reaper  *reaper.Reaper
	signals *signals
	place   place

	keepers keepers
}

// Main is the first process. On a machine it does not return; inside of another
// system it returns the exit code.
func Main() int {
	p := &pid1{signals: listen()}
	early := &buffer{}
	early.Event(timeline.Event{At: timeline.Now(), Stage: timeline.Kernel})
	var err error
	p.place, err = look()
	p.place.announce()
	list := earlyList()
	if !p.place.machine {
		list = p.userspaceList()
	}
	if err == nil || p.place.machine { // There the list says what is wrong with /proc.
		err = step.Run(context.Background(), early, slog.New(slog.DiscardHandler), list)
	}
	if err != nil && p.place.machine {
		_ = mounts.Apply(mounts.Core()) // A place for the record of the failure; more than that is not hoped for.
	}
	p.attach(early)
	p.guard("signals", func() { p.signals.watch(func(s string) { p.log.Warn(s) }) })
	p.guard("reaper", func() { p.reaper.Run(context.Background()) })
	var next action
	if err != nil {
		next = p.fatal(err)
	} else {
		next = p.live(p.upList())
	}
	p.down(next)
	switch {
	case p.place.machine:
		select {} // reboot(2) has failed. There is nothing to go back to.
	case err != nil:
		return codeFatal
	case next == reboot:
		return codeReboot
	}
	return codeDone
}

// attach opens the consoles, which need /dev, and tells what happened before.
func (p *pid1) attach(early *buffer) {
	line, err := cmdline.Read()
	p.line = line
	p.console = console.New(boot.ConsoleOptions(line))
	p.log = p.console.Logger()
	p.reaper = reaper.New(p.log)
	if mkErr := os.MkdirAll(stateDir, 0o755); mkErr != nil {
		p.log.Error("no folder for the state", "error", mkErr)
	}
	for _, e := range early.events {
		p.console.Event(e)
	}
	if err != nil {
		p.log.Error("going on without a command line", "error", err)
	}
}

// live brings the system up by list and waits for the signal that ends it. What
// hangs on the way up, even in the kernel, does not keep it from going down.
func (p *pid1) live(list []step.Step) action {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan struct{})
	p.guard("up", func() {
		defer close(done)
		_ = step.Run(ctx, p.console, p.log, list) // None of them is Fatal.
	})
	<-p.signals.asked
	cancel()
	if !within(done, roleGrace+2*killGrace) {
		p.log.Error("going down although the way up has not ended")
	}
	return p.signals.action
}

// fatal says that the system cannot boot and does what the kernel would in a
// panic: reboot at once, after a while, or stay for people to read.
func (p *pid1) fatal(err error) action {
	p.console.Event(timeline.Event{At: timeline.Now(), Stage: timeline.Fatal, Result: err.Error()})
	if !p.place.machine {
		return halt
	}
	seconds := panicSetting()
	switch {
	case seconds < 0:
		return reboot
	case seconds == 0:
		p.log.Error("stopped: waiting to be halted, powered off or rebooted")
		<-p.signals.asked
		return p.signals.action
	}
	p.log.Error("rebooting", "in", time.Duration(seconds)*time.Second)
	wait := time.NewTimer(time.Duration(seconds) * time.Second)
	defer wait.Stop()
	select {
	case <-wait.C:
		return reboot
	case <-p.signals.asked:
		return p.signals.action
	}
}

// down shuts down. Inside of another system, or when reboot(2) fails, it
// returns.
func (p *pid1) down(a action) {
	p.console.Event(timeline.Event{At: timeline.Now(), Stage: timeline.Shutdown, Result: a.name})
	p.keepers.close()
	_ = step.Run(context.Background(), p.console, p.log, p.downList()) // None of them is Fatal.
	ctx, cancel := context.WithTimeout(context.Background(), flushLimit)
	_ = p.console.Close(ctx) // A stuck console must not keep the machine up.
	cancel()
	if !p.place.machine {
		return
	}
	err := unix.Reboot(a.command)
	// What is left is the kernel's log.
	_ = os.WriteFile("/dev/kmsg", fmt.Appendf(nil, "<26>keelson: cannot %s: %v\n", a.name, err), 0)
}

// guard runs f in a goroutine that cannot take the system down.
func (p *pid1) guard(name string, f func()) {
	go func() {
		defer p.recovered(name)
		f()
	}()
}

func (p *pid1) recovered(name string) {
	if r := recover(); r != nil {
		p.log.Error("PID 1 panicked and goes on", "in", name, "panic", r, "stack", string(debug.Stack()))
	}
}

// buffer keeps events until there is a place for them.
type buffer struct{ events []timeline.Event }

func (b *buffer) Event(e timeline.Event) { b.events = append(b.events, e) }

// protect keeps this process, and the daemons that inherit it, from being killed
// when memory is short; they give what they start its due. Inside of another
// system a value that somebody chose stays, and so does one we may not lower.
func protect() error {
	if userspace.Inside() {
		own, err := oomscore.Own()
		if err != nil || own != oomscore.Ordinary {
			return err
		}
	}
	err := oomscore.SetOwn(oomscore.Protected)
	if userspace.Inside() && errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}

// raiseLimits are LinuxKit's; every process inherits them. It has to be
// package syscall's Setrlimit: that makes the runtime forget the limit it
// found at its start, which it would give to children otherwise.
func raiseLimits() error {
	const files = 1 << 20
	infinity := uint64(unix.RLIM_INFINITY)
	err := errors.Join(
		syscall.Setrlimit(unix.RLIMIT_NOFILE, &syscall.Rlimit{Cur: files, Max: files}),
		syscall.Setrlimit(unix.RLIMIT_NPROC, &syscall.Rlimit{Cur: infinity, Max: infinity}),
	)
	if err != nil && !(userspace.Inside() && errors.Is(err, unix.EPERM)) {
		return fmt.Errorf("cannot raise limits of files and processes: %w", err)
	}
	return nil
}
