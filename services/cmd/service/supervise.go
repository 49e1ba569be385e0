package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"keelson/runtime/console"
	"keelson/services/control"
	"keelson/services/powerbutton"
	"keelson/services/supervisor"
)

// flushLimit is how long the last messages may take to get out.
const flushLimit = time.Second

// supervise runs the services until SIGTERM, then stops them.
func supervise(ctx context.Context, _ invocation) (int, error) {
	c := console.New(console.Options{Devices: console.Consoles(consoles()), Kmsg: true})
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), flushLimit)
		defer cancel()
		_ = c.Close(ctx) // There is nowhere left to tell of it.
	}()
	if err := os.MkdirAll(filepath.Dir(control.SocketPath), 0o755); err != nil {
		return control.CodeFailed, err
	}
	s := supervisor.New(supervisor.Options{Events: c.Event, Logger: c.Logger()})
	// What people ask with is there until the last service has stopped.
	asking, stopAsking := context.WithCancel(context.WithoutCancel(ctx))
	var helpers sync.WaitGroup
	helpers.Go(func() {
		if err := control.Serve(asking, control.SocketPath, s); err != nil {
			c.Logger().Error("the command service cannot reach the supervisor", "error", err)
		}
	})
	helpers.Go(func() {
		pressed := func() { _ = syscall.Kill(1, syscall.SIGUSR2) }
		if err := powerbutton.Watch(asking, "/dev/input", pressed); err != nil {
			c.Logger().Warn("the power button is not heard", "error", err)
		}
	})
	err := s.Serve(ctx)
	stopAsking()
	helpers.Wait()
	if err != nil {
		return control.CodeFailed, errors.Join(errors.New("cannot supervise"), err)
	}
	return control.CodeOK, nil
}

// consoles are the values of console= on the kernel's command line.
func consoles() []string {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return nil
	}
	var values []string
	for word := range strings.FieldsSeq(string(line)) {
		if value, ok := strings.CutPrefix(word, "console="); ok {
			values = append(values, value)
		}
	}
	return values
}
