package task

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/bundle"
	"keelson/runtime/logs"
)

const (
	// drainTime is how long the shim may take, after the end of the container, to write
	// what is left. It is done long before that.
	drainTime = time.Second
	// openTime is how long the shim may take to open the FIFOs.
	openTime = 5 * time.Second
)

// Output receives what a container prints in one life. The path of a FIFO exists until
// Created, Again or Close: the shim opens it by name more than once while it creates the
// task.
type Output interface {
	Stdout() string              // path of a FIFO; empty: none
	Stderr() string              // likewise
	Created(ctx context.Context) // the container is created, and not started
	Again()                      // it was not started, and another is to be created in its place
	Close()                      // it is gone; on return all it printed is in its log
}

// OutputOf says whose output to receive.
type OutputOf struct {
	Service  string
	Beside   bool // another container of the service may be writing
	Settings bundle.Settings
	Terminal bool // there is no stderr
	Adopted  bool // the container runs already
	Streams  int  // how many streams all services have together
	Count    *logs.Count
}

// NewOutput returns a function that opens outputs: to log files in the folder logs, or to
// a logging daemon that listens at socket. FIFOs are in the folder fifos.
func NewOutput(fifos, logs, socket string, logger *slog.Logger) func(OutputOf) Output {
	return (&outputs{fifos: fifos, logs: logs, socket: socket, logger: logger}).open
}

// RemoveFIFOs removes the FIFOs of a service that does not exist any more.
func RemoveFIFOs(fifos, service string) error {
	var errs []error
	for _, suffix := range logSuffix {
		if err := os.Remove(filepath.Join(fifos, service+suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("cannot remove a FIFO: %w", err))
		}
	}
	return errors.Join(errs...)
}

// outputs opens outputs.
type outputs struct {
	fifos, logs string // folders
	socket      string // of a logging daemon
	logger      *slog.Logger
	copier      logs.Copier
	locks       sync.Map // name of a log to *sync.Mutex: one writer per log

	mu     sync.Mutex
	shared map[string]*output // that write the log of a service
}

// output implements Output. The arrays hold stderr, then stdout.
type output struct {
	*outputs
	of      OutputOf
	fifo    [2]string
	stream  [2]*logs.Stream
	handing bool               // over to a daemon
	handed  [2]chan error      // results of that
	giveUp  context.CancelFunc // ends handing over
	unlock  sync.Once
	lock    *sync.Mutex // nil: it has no log that others write
	users   int         // containers that write to the FIFOs; guarded by outputs.mu
}

// Suffixes of the logs of a service, and of its streams at a logging daemon.
var (
	logSuffix    = [2]string{".log", ".out.log"}
	streamSuffix = [2]string{"", ".out"}
)

func (o *outputs) open(of OutputOf) Output {
	out := &output{outputs: o, of: of, handing: !of.Adopted && !probesLog(of.Settings) && logs.External(o.socket), users: 1}
	switch {
	case of.Beside && !out.handing:
		return o.join(out)
	case !of.Beside:
		lock, _ := o.locks.LoadOrStore(of.Service, &sync.Mutex{})
		out.lock = lock.(*sync.Mutex)
		out.lock.Lock() // The output of the life before may still be finishing.
	}
	if out.handing {
		out.removeHanded()
	}
	out.ready()
	if !out.handing {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.shared == nil {
			o.shared = map[string]*output{}
		}
		o.shared[of.Service] = out
	}
	return out
}

// probesLog reports whether a probe reads the log of the service, which would not exist
// beside a logging daemon.
func probesLog(s bundle.Settings) bool { return s.Ready.Kind == logKind || s.Health.Kind == logKind }

const logKind = "log"

// ready prepares the streams that have no log yet.
func (out *output) ready() {
	ctx, cancel := context.WithCancel(context.Background())
	out.giveUp = cancel
	for i := range out.fifo {
		if i == 0 && out.of.Terminal || out.stream[i] != nil {
			continue
		}
		path := out.path(i)
		if out.of.Adopted {
			if _, err := os.Lstat(path); err != nil {
				continue // It was handed over.
			}
		}
		if out.handing {
			path += handedMark + strconv.FormatUint(rand.Uint64(), 36)
		}
		if err := logs.MakeFIFO(path); err != nil {
			out.logger.Error("cannot write the log of a service, which runs without", "service", out.of.Service, "error", err)
			continue
		}
		out.fifo[i] = path
		if !out.handing {
			out.copy(i)
			continue
		}
		// The shim waits for a reader, and the reader for the shim.
		handed := make(chan error, 1)
		out.handed[i] = handed
		go func() { handed <- out.handOver(ctx, i) }()
	}
}

// handedMark stands between the path of a FIFO that is handed over and a number that no
// other attempt has: a shim that is left of a failed attempt must not be taken for the
// writer of the next.
const handedMark = ".handed."

// removeHanded removes FIFOs that an earlier supervisor has left.
func (out *output) removeHanded() {
	entries, _ := os.ReadDir(out.fifos) // The first service makes the folder.
	for _, e := range entries {
		for i := range out.fifo {
			if strings.HasPrefix(e.Name(), filepath.Base(out.path(i))+handedMark) {
				_ = os.Remove(filepath.Join(out.fifos, e.Name()))
			}
		}
	}
}

func (out *output) path(i int) string {
	return filepath.Join(out.fifos, out.of.Service+logSuffix[i])
}

// copy starts to write the log of a stream.
func (out *output) copy(i int) {
	f, err := logs.OpenFIFO(out.fifo[i])
	if err != nil {
		out.logger.Error("cannot write the log of a service, which runs without", "service", out.of.Service, "error", err)
		out.fifo[i] = ""
		return
	}
	limit := out.of.Settings.LogSize
	if limit == 0 {
		limit = logs.Share(out.logs, out.of.Streams)
	}
	out.stream[i] = out.copier.Copy(f, logs.Options{
		Path: filepath.Join(out.logs, out.of.Service+logSuffix[i]), Limit: limit, Logger: out.logger,
		Ledger: out.path(i) + ".lost", Count: out.of.Count,
	})
}

func (out *output) Stdout() string { return out.fifo[1] }

func (out *output) Stderr() string { return out.fifo[0] }

func (out *output) Created(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	defer context.AfterFunc(ctx, out.giveUp)()
	for i, handed := range out.handed {
		if handed == nil {
			continue
		}
		err := <-handed
		out.handed[i] = nil
		if err != nil {
			out.logger.Error("cannot hand a stream over to the logging daemon; writing a log file instead", "service", out.of.Service, "error", err)
			out.keep(i)
			continue
		}
		_ = os.Remove(out.fifo[i]) // The shim has both its ends open.
	}
}

func (out *output) Again() {
	if out.handing {
		out.withdraw()
		out.ready()
	}
}

// withdraw ends handing over, and removes the FIFOs.
func (out *output) withdraw() {
	out.giveUp()
	for i, handed := range out.handed {
		if handed != nil {
			<-handed // The container was never created.
			out.handed[i] = nil
		}
		if path := out.fifo[i]; path != "" && path != out.path(i) {
			_ = os.Remove(path)
			out.fifo[i] = ""
		}
	}
}

// handOver gives the daemon the read end of a stream as soon as the shim has opened the
// write end, and before it opens a read end of its own.
func (out *output) handOver(ctx context.Context, i int) error {
	fd, err := logs.OpenReadEnd(ctx, out.fifo[i])
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return logs.SendToDaemon(out.socket, out.of.Service+streamSuffix[i], fd)
}

// keep writes a log file from a FIFO that was meant for the daemon. The task is created:
// the shim has both ends open and does not need the name any more.
func (out *output) keep(i int) {
	if err := os.Rename(out.fifo[i], out.path(i)); err != nil {
		out.logger.Error("cannot write the log of a service, which runs without", "service", out.of.Service, "error", err)
		return
	}
	out.fifo[i] = out.path(i)
	out.copy(i)
}

func (out *output) Close() { out.unlock.Do(out.leave) }

// leave ends one use of the output. The last one ends the output.
func (out *output) leave() {
	out.mu.Lock()
	out.users--
	last := out.users == 0
	if last && out.shared[out.of.Service] == out {
		delete(out.shared, out.of.Service)
	}
	out.mu.Unlock()
	if last {
		out.finish()
		if out.lock != nil {
			out.lock.Unlock()
		}
	}
}

// join returns another use of the output that writes the log of a service: the container
// writes to the same FIFOs. If a logging daemon has the log, which has gone since, it
// returns out, without FIFOs.
func (o *outputs) join(out *output) Output {
	o.mu.Lock()
	defer o.mu.Unlock()
	other := o.shared[out.of.Service]
	if other == nil {
		out.giveUp = func() {}
		o.logger.Error("cannot write the log of a version beside another one, which runs without", "service", out.of.Service)
		return out
	}
	other.users++
	return &joined{output: other}
}

// joined is the use of an output by another container of the same service. Its methods,
// except Close, do nothing to the output.
type joined struct {
	*output
	closed sync.Once
}

func (j *joined) Created(context.Context) {}
func (j *joined) Again()                  {}
func (j *joined) Close()                  { j.closed.Do(j.leave) }

func (out *output) finish() {
	out.withdraw()
	var finished sync.WaitGroup
	for _, s := range out.stream {
		if s != nil {
			finished.Go(func() { s.Finish(drainTime) })
		}
	}
	finished.Wait()
}
