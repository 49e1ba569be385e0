package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"keelson/runtime/console"
	runtimelogs "keelson/runtime/logs"
	"keelson/runtime/powerbutton"
	"keelson/runtime/userspace"
	"keelson/services/control"
	"keelson/services/supervisor"
)

// flushLimit is how long the last messages may take to get out.
const flushLimit = 2 * time.Second

// containerdLogLimit is for the log that PID 1 opens for containerd, and the
// one before it, in bytes.
const containerdLogLimit = 1 << 20

// supervise is the supervisor's process: it ends when SIGTERM has stopped all
// services. Until then it answers on the control socket and heeds the power
// button; neither is worth ending for.
func supervise(ctx context.Context, _ invocation) (int, error) {
	c := console.New(console.Options{Devices: consoles(), Kmsg: !userspace.Inside()})
	log := c.Logger()
	power := powerBy(initProcess())
	s := supervisor.New(supervisor.Options{Events: c.Event, Logger: log, Power: power})
	side, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var helpers sync.WaitGroup
	helpers.Go(func() {
		if err := control.Serve(side, control.SocketPath, s); err != nil {
			log.Error("the service command does not work", "error", err)
		}
	})
	helpers.Go(func() {
		press := func() {
			log.Info("power button pressed")
			if err := power(syscall.SIGUSR2); err != nil {
				log.Error("cannot ask PID 1 to power off", "error", err)
			}
		}
		if userspace.Inside() { // The button is the outer system's.
			return
		}
		if err := powerbutton.Watch(side, "/dev/input", press); err != nil {
			log.Error("the power button does not work", "error", err)
		}
	})
	go func() { // Not waited for: a driver that hangs would be, too.
		if userspace.Inside() { // The devices are the outer system's.
			return
		}
		if err := watchDevices(side, log); err != nil {
			log.Error("devices that come up later do not work", "error", err)
		}
	}()
	helpers.Go(func() {
		if err := runtimelogs.Cap(side, containerdLog, containerdLogLimit); err != nil {
			log.Error("the log of containerd may grow", "error", err)
		}
	})
	err := s.Serve(ctx)
	cancel()
	helpers.Wait()
	flush, done := context.WithTimeout(context.Background(), flushLimit)
	defer done()
	err = errors.Join(err, c.Close(flush))
	if err != nil {
		return control.CodeFailed, err
	}
	return control.CodeOK, nil
}

// powerBy asks /init, the process init. Where that has ended the id is nobody's,
// or a stranger's.
func powerBy(init int) func(syscall.Signal) error {
	return func(s syscall.Signal) error {
		if initProcess() != init {
			return errors.New("/init has ended")
		}
		return syscall.Kill(init, s)
	}
}

// initProcess is /init: the first process but in userspace mode, where that
// may be the outer system's.
func initProcess() int {
	if userspace.Inside() {
		return os.Getppid()
	}
	return 1
}

// consoles are the devices behind the kernel's active consoles.
func consoles() []string {
	if userspace.Inside() {
		return []string{console.Stdout}
	}
	active, err := os.ReadFile("/sys/class/tty/console/active")
	if err != nil {
		return console.Consoles(nil)
	}
	return console.Consoles(strings.Fields(string(active)))
}
