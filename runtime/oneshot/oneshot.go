package oneshot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"keelson/runtime/bundle"
	"keelson/runtime/prepare"
)

// Options say how to run. Runtime and LogDir are needed.
type Options struct {
	Runtime   string        // path of the OCI runtime's program
	Root      string        // its state directory, /run/runc when empty
	LogDir    string        // for PREFIXname.log and PREFIXname.out.log
	LogPrefix string        // such as "onboot."
	Debug     bool          // log every step, run the runtime with --debug
	Timeout   time.Duration // 0 is none
	Logger    *slog.Logger  // for Debug; may be nil
}

// Run prepares b, runs its container to the end and releases it again. When
// ctx ends, or the timeout, the container gets its stop signal, later SIGKILL.
func Run(ctx context.Context, b *bundle.Bundle, options Options) Result {
	if options.Root == "" {
		options.Root = "/run/runc"
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	r := &run{bundle: b, options: options}
	base := filepath.Join(options.LogDir, options.LogPrefix+b.Name)
	r.result = Result{Name: b.Name, Started: time.Now(), Stdout: base + ".out.log", Stderr: base + ".log", ExitCode: -1}
	r.runtimeLog = base + ".runtime.log"
	if err := r.all(ctx); err != nil {
		r.result.Err = err.Error()
	}
	r.result.Took = time.Since(r.result.Started)
	return r.result
}

// run is one container on its way.
type run struct {
	bundle     *bundle.Bundle
	options    Options
	result     Result
	runtimeLog string
	out, err   *os.File
}

func (r *run) all(ctx context.Context) (err error) {
	if err := r.openLogs(); err != nil {
		return err
	}
	defer r.closeLogs()
	release, err := prepare.Prepare(r.bundle)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	r.step("prepared")
	if r.options.Timeout > 0 {
		why := fmt.Errorf("timeout after %v", r.options.Timeout)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, r.options.Timeout, why)
		defer cancel()
	}
	if prepare.NeededAfterCreate(r.bundle) {
		return r.createAndStart(ctx)
	}
	return r.runAtOnce(ctx)
}

// step is told with linuxkit.runc_debug=1.
func (r *run) step(what string, args ...any) {
	if r.options.Debug {
		r.options.Logger.Info(r.bundle.Name+": "+what, args...)
	}
}

func (r *run) openLogs() (err error) {
	if err := os.MkdirAll(r.options.LogDir, 0o755); err != nil {
		return fmt.Errorf("cannot make log directory: %w", err)
	}
	if r.out, err = createLog(r.result.Stdout); err != nil {
		return err
	}
	if r.err, err = createLog(r.result.Stderr); err != nil {
		_ = r.out.Close()
	}
	return err
}

// createLog opens for appending: several processes of the container share
// the file.
func createLog(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("cannot make log: %w", err)
	}
	return f, nil
}

func (r *run) closeLogs() {
	_, _ = r.out.Close(), r.err.Close()
	if !r.options.Debug {
		_ = os.Remove(r.runtimeLog)
	}
}
