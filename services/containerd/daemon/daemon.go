package daemon

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"

	srvconfig "github.com/containerd/containerd/v2/cmd/containerd/server/config"
	"github.com/containerd/containerd/v2/version"
	"github.com/containerd/log"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/grpclog"
)

const (
	// gcPercent lets the heap grow to 16 MB before the first garbage collection. With
	// the default of 4 MB there are several while containerd starts.
	gcPercent = 400
	// stacksLimit is the most that SIGUSR1 writes to the log, in bytes.
	stacksLimit = 1 << 20
)

// Main runs containerd until SIGTERM or SIGINT, or until it fails. It returns the exit
// status.
func Main(args []string) int {
	if err := run(args, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "containerd:", err)
		return 1
	}
	return 0
}

func run(args []string, out io.Writer) error {
	options, err := parse(args)
	switch {
	case err != nil:
		return err
	case options.help:
		_, err = fmt.Fprint(out, usage)
		return err
	case options.version:
		_, err = fmt.Fprintln(out, "containerd", version.Package, version.Version, version.Revision)
		return err
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	failed := make(chan error, 1)
	registerAPI(failed)
	config, err := options.configuration(ctx)
	if err != nil {
		return err
	}
	if err := setLog(config); err != nil {
		return err
	}
	removeLeftovers(config.Root)
	if err := createFolders(config); err != nil {
		return err
	}
	handleSignals()
	return serve(ctx, config, failed)
}

func setLog(config *srvconfig.Config) error {
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
	if err := log.SetFormat(log.OutputFormat(cmp.Or(config.Debug.Format, string(log.TextFormat)))); err != nil {
		return fmt.Errorf("cannot set the format of the log: %w", err)
	}
	if config.Debug.Level == "" {
		return nil
	}
	if err := log.SetLevel(config.Debug.Level); err != nil {
		return fmt.Errorf("cannot set the level of the log: %w", err)
	}
	return nil
}

// serve runs the server until ctx ends or it fails. When ctx ends, it does not wait for
// a server that is still starting, which may block: the database cannot be opened while
// an earlier containerd has it open.
func serve(ctx context.Context, config *srvconfig.Config, failed <-chan error) error {
	type result struct {
		server *server
		err    error
	}
	made := make(chan result, 1)
	go func() {
		s, err := newServer(ctx, config)
		made <- result{s, err}
	}()
	var r result
	select {
	case <-ctx.Done():
		return nil
	case r = <-made:
	}
	if r.err != nil {
		return fmt.Errorf("cannot start the server: %w", r.err)
	}
	defer r.server.stop()
	if err := r.server.start(ctx); err != nil {
		return fmt.Errorf("cannot start to serve: %w", err)
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// handleSignals writes the stacks of all goroutines to the log on SIGUSR1. SIGPIPE is
// caught and dropped rather than ignored, since the shims that containerd starts would
// inherit that it is ignored (execve(2)).
func handleSignals() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGUSR1, unix.SIGPIPE)
	go func() {
		for s := range signals {
			if s == unix.SIGUSR1 {
				stacks := make([]byte, stacksLimit)
				log.L.Infof("goroutines:\n%s", stacks[:runtime.Stack(stacks, true)])
			}
		}
	}()
}

// removeLeftovers removes the folders below root that an earlier containerd has left
// when it was killed while it started: to check whether the file system has fs-verity, it
// makes a folder of a random name (containerd's internal/fsverity, IsSupported). Only
// one containerd runs at a time.
func removeLeftovers(root string) {
	left, _ := filepath.Glob(filepath.Join(root, "io.containerd.content.v1.content", ".fsverity-check-*"))
	for _, dir := range left {
		_ = os.RemoveAll(dir) // The next start tries again.
	}
}
