package oneshot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"keelson/runtime/bundle"
	"keelson/runtime/prepare"
)

// hangUpTime is the time that a container on a terminal has to end after SIGHUP.
const hangUpTime = time.Second

// RunOnTerminal runs b to its end for a person at a terminal. When ctx ends, or the
// terminal is hung up, the container gets SIGHUP, then SIGKILL. There are no logs.
//
// The container gets a terminal of its own, whatever process.terminal says, so that a
// shell in it has job control. If it cannot have one (no /dev/pts), it gets tty itself.
// Interfaces and namespace binds of runtime.json are ignored: the runtime stays between
// the container and the terminal.
func RunOnTerminal(ctx context.Context, b *bundle.Bundle, options Options, tty *os.File) Result {
	own := *withUsers(b)
	own.Settings.StopSignal = syscall.SIGHUP
	own.Settings.StopTimeout = min(own.Settings.StopTimeout, hangUpTime)
	options.Root = cmp.Or(options.Root, stateRoot)
	r := &run{bundle: &own, options: options}
	r.result = Result{Name: b.Name, Started: time.Now(), ExitCode: -1}
	r.runtimeLog = filepath.Join(options.LogDir, options.LogPrefix+b.Name+".runtime.log")
	if err := r.onTerminal(ctx, tty); err != nil {
		r.result.Err = err.Error()
	}
	r.result.Took = time.Since(r.result.Started)
	return r.result
}

func (r *run) onTerminal(ctx context.Context, tty *os.File) (err error) {
	if err := os.MkdirAll(r.options.LogDir, 0o755); err != nil {
		return fmt.Errorf("cannot make log directory: %w", err)
	}
	if prepare.NeededAfterCreate(r.bundle) && r.options.Logger != nil {
		r.options.Logger.Warn("setting ignored: interfaces and bindNS of runtime.json do not apply on a terminal", "container", r.bundle.Name)
	}
	release, err := prepare.Prepare(r.bundle)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	dir, err := os.MkdirTemp(r.options.LogDir, ".terminal-")
	if err != nil {
		return fmt.Errorf("cannot make a bundle for the terminal: %w", err)
	}
	defer os.RemoveAll(dir)
	defer os.Remove(r.runtimeLog)
	r.outputs.write = [2]*os.File{tty, tty}
	r.input = tty
	without := r.unsupported()
	filter, err := r.filter(ctx)
	if err != nil {
		return err
	}
	for _, own := range []bool{true, false} { // a terminal of its own, then tty
		_ = os.Remove(r.runtimeLog)
		if err := writeConfig(r.bundle, dir, bundle.Edit{Terminal: &own, Without: without, Seccomp: filter}); err != nil {
			return err
		}
		if err = r.runForeground(ctx, dir); err == nil || ctx.Err() != nil || r.result.ExitCode >= 0 {
			return err
		}
	}
	return err
}

// writeConfig writes b's configuration, changed by e, to dir.
func writeConfig(b *bundle.Bundle, dir string, e bundle.Edit) error {
	text, err := b.Edited(e)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, bundle.ConfigFile), text, 0o600); err != nil {
		return fmt.Errorf("cannot write the configuration of %s: %w", b.Name, err)
	}
	return nil
}
