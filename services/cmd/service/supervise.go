package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"keelson/runtime/console"
	"keelson/runtime/fdstore"
	runtimelogs "keelson/runtime/logs"
	"keelson/runtime/paths"
	"keelson/runtime/powerbutton"
	"keelson/runtime/threads"
	"keelson/runtime/timeline"
	"keelson/runtime/userspace"
	"keelson/runtime/watchdog"
	"keelson/services/control"
	"keelson/services/events"
	"keelson/services/supervisor"
)

// flushLimit is how long the console may take to write the last messages.
const flushLimit = 2 * time.Second

// containerdLogLimit is the largest size of containerd's log, and of its rotated part, in
// bytes.
const containerdLogLimit = 1 << 20

// threadCount is how many threads the supervisor creates at its start: two that run Go
// code, and one for each goroutine that is likely to be in a system call at the same time:
// the two writers of the console, signals, new devices, the power button, containerd's
// log, files, and commands of probes. It may need more, and is restarted if the kernel
// refuses one.
const threadCount = 12

// supervise runs the supervisor. It ends when SIGTERM has stopped all services. Until
// then it also serves the control socket and watches the power button; it keeps running
// when these fail.
func supervise(ctx context.Context, _ []string, _ io.Writer) (int, error) {
	descriptors, noDescriptors := fdstore.Inherited()
	threads.Create(threadCount)
	env := userspace.Read()
	c := console.New(console.Options{Devices: consoles(env), Kmsg: env.Machine})
	log := c.Logger()
	if noDescriptors != nil {
		log.Error("the sockets of services are lost when the supervisor dies", "error", noDescriptors)
	}
	power := powerBy(env)
	journal := openJournal(log)
	defer journal.Close()
	orders := &powerOrders{Journal: journal}
	s := supervisor.New(supervisor.Options{Events: c.Event, Journal: orders, Logger: log, Power: power, Descriptors: descriptors, Machine: env.Machine})
	side, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var helpers sync.WaitGroup
	help := func(failed string, f func() error) {
		helpers.Go(func() {
			if err := f(); err != nil {
				log.Error(failed, "error", err)
			}
		})
	}
	server := api(s, journal, s.Metrics, s.Inspect, s.Container, log)
	help("cannot serve the control API", func() error { return server.Serve(side, control.SocketPath) })
	serveGate(side, server, help, log)
	helpers.Go(func() { sweepTools(log) })
	help("cannot limit the log of containerd", func() error { return runtimelogs.Cap(side, containerdLog, containerdLogLimit) })
	if env.Machine { // Else the button and the devices belong to the outer system.
		help("cannot answer the watchdog of PID 1", func() error { return watchdog.Answer(side, watchdog.Socket, s.Alive) })
		help("cannot watch the power button", func() error { return powerbutton.Watch(side, "/dev/input", func() { press(s, log) }) })
		help("memory pressure is not watched", func() error { return watchPressure(side, s, log) })
		go func() { // Nothing waits for it: a driver may hang.
			if err := watchDevices(side, log); err != nil {
				log.Error("cannot watch for new devices", "error", err)
			}
		}()
	}
	end := keepBoot(ctx, env, orders, log)
	endClock := keepClock(ctx, env, log)
	replaced, err := serve(ctx, s)
	cancel()
	if !replaced { // Else the process ends as if it was killed: the next one continues.
		helpers.Wait()
		end()
		endClock()
	}
	flush, done := context.WithTimeout(context.Background(), flushLimit)
	defer done()
	if err = errors.Join(err, c.Close(flush)); err != nil {
		return control.CodeFailed, err
	}
	return control.CodeOK, nil
}

// serveGate serves the control API to the gate. The folder of the socket exists when it returns:
// a container that binds it may start.
func serveGate(ctx context.Context, server *control.Server, help func(failed string, f func() error), log *slog.Logger) {
	if err := control.PrepareGate(paths.Gate); err != nil {
		log.Error("cannot serve the control API to the gate", "error", err)
		return
	}
	help("cannot serve the control API to the gate", func() error { return server.ServeGate(ctx, control.GateSocketPath) })
}

// openJournal returns the journal of events. A new one begins with what the boot has done.
func openJournal(log *slog.Logger) *events.Journal {
	journal := events.Open(events.Options{Dir: paths.State, Logger: log})
	if !journal.Fresh() {
		return journal
	}
	boot, err := timeline.Read(timeline.Path)
	if err != nil {
		log.Warn("the journal of events has no events of the boot", "error", err)
	}
	for _, e := range events.Boot(boot) {
		journal.Append(e)
	}
	return journal
}

// serve runs the supervisor until it has stopped all services, or another one is to continue.
func serve(ctx context.Context, s *supervisor.Supervisor) (replaced bool, err error) {
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	select {
	case err := <-served:
		return false, err
	case <-s.Replaced():
		return true, s.ReplacedWhy()
	}
}

// press powers off, as the power button does.
func press(s *supervisor.Supervisor, log *slog.Logger) {
	log.Info("power button pressed")
	if err := s.Power(syscall.SIGUSR2, "the power button"); err != nil {
		log.Error("cannot signal PID 1 to power off", "error", err)
	}
}

// powerBy returns a function that signals /init. It does not once
// that has ended, when the ID may be that of another process.
func powerBy(env userspace.Environment) func(syscall.Signal) error {
	init := initProcess(env)
	return func(s syscall.Signal) error {
		if initProcess(env) != init {
			return errors.New("/init has ended")
		}
		return syscall.Kill(init, s)
	}
}

// initProcess returns the process of /init: PID 1, or the parent in userspace mode,
// where PID 1 may belong to the outer system.
func initProcess(env userspace.Environment) int {
	if !env.Machine {
		return os.Getppid()
	}
	return 1
}

// consoles returns the devices of the kernel's active consoles.
func consoles(env userspace.Environment) []string {
	if !env.Machine {
		return []string{console.Stdout}
	}
	active, err := os.ReadFile("/sys/class/tty/console/active")
	if err != nil {
		return console.Consoles(nil)
	}
	return console.Consoles(strings.Fields(string(active)))
}
