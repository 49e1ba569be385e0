package daemon

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"

	"github.com/containerd/containerd/v2/cmd/containerd/server"
	srvconfig "github.com/containerd/containerd/v2/cmd/containerd/server/config"
	"github.com/containerd/containerd/v2/version"
	"github.com/containerd/log"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/grpclog"
)

const (
	// collectAt lets the heap grow to 16 MB before the first collection: one of
	// the usual 4 MB would come several times while containerd starts.
	collectAt = 400
	// stacksLimit bounds what SIGUSR1 writes to the log, in bytes.
	stacksLimit = 1 << 20
)

// Main is the process of containerd: it ends upon SIGTERM or SIGINT, or because it
// cannot start. It returns the exit status.
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
		debug.SetGCPercent(collectAt)
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
	sweep(config.Root)
	if err := server.CreateTopLevelDirectories(config); err != nil {
		return fmt.Errorf("cannot make its folders: %w", err)
	}
	heed()
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

// serve does not wait for a server that is still starting when it is to end: the
// database cannot be opened while an earlier containerd still has it.
func serve(ctx context.Context, config *srvconfig.Config, failed <-chan error) error {
	type result struct {
		server *server.Server
		err    error
	}
	made := make(chan result, 1)
	go func() {
		s, err := server.New(ctx, config)
		made <- result{s, err}
	}()
	var r result
	select {
	case <-ctx.Done():
		return nil
	case r = <-made:
	}
	if r.err != nil {
		return fmt.Errorf("cannot start: %w", r.err)
	}
	defer r.server.Stop()
	if err := r.server.Start(ctx); err != nil {
		return fmt.Errorf("cannot listen: %w", err)
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// heed has SIGUSR1 write what all goroutines do to the log. SIGPIPE is of no
// interest, but what containerd starts is not to ignore it.
func heed() {
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
