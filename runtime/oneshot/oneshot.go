package oneshot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"keelson/runtime/bundle"
	"keelson/runtime/idrange"
	"keelson/runtime/logs"
	"keelson/runtime/prepare"
)

// Options of a run. Runtime and LogDir are required.
type Options struct {
	Runtime   string        // path of the OCI runtime's program
	Runner    *Runner       // runs containers of several runs; may be nil
	Root      string        // its state directory, /run/runc when empty
	Service   string        // program that makes filters of system calls, paths.Service when empty
	LogDir    string        // for PREFIXname.log and PREFIXname.out.log
	LogPrefix string        // such as "onboot."
	Append    bool          // a further attempt: its output is appended to that of the previous one
	Debug     bool          // log every step, run the runtime with --debug
	Timeout   time.Duration // 0 is none
	Logger    *slog.Logger  // for Debug, warnings and errors of logs; may be nil
	Mirror    func([]byte)  // is called with the output as it comes, in whole lines; may be nil

	ExternalSocket string // of a logging daemon, logs.ExternalSocket when empty
	QuerySocket    string // of a logging daemon, logs.QuerySocket when empty
}

// stateRoot is the default folder for the runtime's state of containers.
const stateRoot = "/run/runc"

// Run prepares b, runs its container to the end and undoes the preparation. When ctx
// ends or the timeout expires, the container gets its stop signal, later SIGKILL.
func Run(ctx context.Context, b *bundle.Bundle, options Options) Result {
	options.Root = cmp.Or(options.Root, stateRoot)
	options.ExternalSocket = cmp.Or(options.ExternalSocket, logs.ExternalSocket)
	options.QuerySocket = cmp.Or(options.QuerySocket, logs.QuerySocket)
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	r := &run{bundle: withUsers(b), options: options}
	base := filepath.Join(options.LogDir, options.LogPrefix+b.Name)
	r.result = Result{Name: b.Name, Started: time.Now(), Stdout: base + ".out.log", Stderr: base + ".log", ExitCode: -1}
	r.runtimeLog = base + ".runtime.log"
	if err := r.all(ctx); err != nil {
		r.result.Err = err.Error()
	}
	r.result.Took = time.Since(r.result.Started)
	return r.result
}

// withUsers returns b with the IDs of its user namespace, if it asks for one.
func withUsers(b *bundle.Bundle) *bundle.Bundle {
	own := *b
	if own.OwnUsers() {
		own.FirstID = idrange.OneShot(own.Name)
	}
	return &own
}

// run is one run of a container.
type run struct {
	bundle     *bundle.Bundle
	options    Options
	result     Result
	runtimeLog string
	logStart   int64 // offset in runtimeLog at which the current call of the runtime began
	outputs    outputs
	input      *os.File // nil: /dev/null
}

func (r *run) all(ctx context.Context) (err error) {
	if err := r.outputs.open(r); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.closeLogs()) }()
	release, err := prepare.Prepare(r.bundle)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	if warning := prepare.UnmappedRoot(r.bundle); warning != "" {
		r.options.Logger.Warn(warning, "container", r.bundle.Name)
	}
	r.debug("prepared")
	if r.options.Timeout > 0 {
		why := fmt.Errorf("timeout after %v", r.options.Timeout)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, r.options.Timeout, why)
		defer cancel()
	}
	dir, remove, err := r.configured(ctx)
	if err != nil {
		return err
	}
	defer remove()
	defer func() {
		if ctx.Err() != nil {
			r.killLeft()
		}
	}()
	if prepare.NeededAfterCreate(r.bundle) {
		return r.createAndStart(ctx, dir)
	}
	return r.runForeground(ctx, dir)
}

// configured returns the folder of the configuration that the runtime reads: the
// bundle's own, or a temporary one with the filter of system calls, the user namespace and
// the capabilities that annotations ask for, without a terminal and without limits that the
// kernel does not support. Programs that have a terminal configured, as `runc spec` writes
// it, write to the logs.
func (r *run) configured(ctx context.Context) (dir string, remove func(), err error) {
	filter, err := r.filter(ctx)
	if err != nil {
		return "", nil, err
	}
	edit := bundle.Edit{Without: r.unsupported(), Seccomp: filter}
	if s := r.bundle.Spec; s != nil && s.Process != nil && s.Process.Terminal {
		r.options.Logger.Warn("setting ignored: onboot and onshutdown containers have no terminal, output goes to the log", "container", r.bundle.Name, "field", "process.terminal")
		edit.Terminal = new(bool)
	}
	if edit.Terminal == nil && len(edit.Without) == 0 && filter == nil && !r.bundle.Edits() {
		return r.bundle.Dir, func() {}, nil
	}
	dir, err = os.MkdirTemp(r.options.LogDir, ".config-")
	if err != nil {
		return "", nil, fmt.Errorf("cannot make a folder for the configuration: %w", err)
	}
	remove = func() { _ = os.RemoveAll(dir) }
	if err := writeConfig(r.bundle, dir, edit); err != nil {
		remove()
		return "", nil, err
	}
	return dir, remove, nil
}

// unsupported returns the limits that the kernel does not support, and logs them.
func (r *run) unsupported() []bundle.ResourceLimit {
	limits := prepare.Unsupported(r.bundle)
	for _, sentence := range bundle.WithoutController(limits) {
		if r.options.Logger != nil {
			r.options.Logger.Warn(sentence, "container", r.bundle.Name)
		}
	}
	return limits
}

// debug logs a step with linuxkit.runc_debug=1.
func (r *run) debug(what string, args ...any) {
	if r.options.Debug {
		r.options.Logger.Info(r.bundle.Name+": "+what, args...)
	}
}

// closeLogs closes the logs, and fetches the output that a logging daemon received, for
// the console.
func (r *run) closeLogs() error {
	err := r.outputs.close()
	if !r.options.Debug {
		_ = os.Remove(r.runtimeLog)
	}
	r.result.shown = r.options.Mirror != nil
	if len(r.outputs.names) == 0 {
		return err
	}
	text, fetchErr := logs.Fetch(r.options.QuerySocket, outputLimit, r.outputs.names...)
	if fetchErr != nil {
		r.options.Logger.Warn("cannot fetch output from the logging daemon", "container", r.bundle.Name, "error", fetchErr)
	}
	r.result.fetched = text
	return err
}
