package ctr

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"keelson/services/containerd"
	"keelson/services/execute"
)

// runIn runs a program in a task, and returns its exit code.
func runIn(ctx context.Context, c *containerd.Client, inv invocation) (int, error) {
	s := containerd.ExecSpec{Namespace: inv.namespace, ID: inv.id, ExecID: inv.execID}
	p := execute.Process{Args: inv.args, Terminal: inv.tty, Dir: inv.cwd}
	if inv.user != "" {
		user, err := execute.ParseUser(inv.user)
		if err != nil { // Names are defined in files of the container, which this program does not read.
			return 1, fmt.Errorf("--user: %w: %w", err, errUnsupported)
		}
		p.User = user
	}
	if inv.detach {
		if err := execute.Create(ctx, c, s, p); err != nil {
			return 1, err
		}
		return 0, nil
	}
	if inv.tty {
		old, err := term.MakeRaw(0)
		if err != nil {
			return 1, fmt.Errorf("tasks exec: -t needs a terminal as standard input: %w", err)
		}
		defer func() { _ = term.Restore(0, old) }()
	}
	stop := func() {}
	defer func() { stop() }()
	return execute.Run(ctx, c, s, p, execute.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Started: func(c *containerd.Client, s containerd.ExecSpec) {
		stop = passSignals(ctx, c, s)
	}})
}

// passSignals passes signals and the size of the terminal to the process until stop is
// called.
func passSignals(ctx context.Context, c *containerd.Client, s containerd.ExecSpec) (stop func()) {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH)
	if s.Terminal {
		signals <- unix.SIGWINCH
	}
	go func() {
		for sig := range signals {
			if sig != unix.SIGWINCH {
				_ = c.Signal(ctx, s.Namespace, s.ID, s.ExecID, sig.(syscall.Signal), false) // The process may have ended.
			} else if width, height, err := term.GetSize(0); s.Terminal && err == nil {
				_ = c.Resize(ctx, s, width, height)
			}
		}
	}()
	return func() { signal.Stop(signals); close(signals) }
}
