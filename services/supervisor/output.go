package supervisor

import (
	"context"
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

// Times of a container's output.
const (
	// drainTime is how long the shim may take, after the container's end, to
	// pass on what is left. It is done long before that.
	drainTime = time.Second
	// openTime is how long the shim may take to open what it was told to.
	openTime = 5 * time.Second
)

// Output takes what one run of a container prints. The path of a FIFO stays
// until Created, Again or Close: the shim opens it by name more than once while
// it creates the task.
type Output interface {
	Stdout() string              // FIFO; empty: nowhere
	Stderr() string              // likewise
	Created(ctx context.Context) // the container is made, and not started
	Again()                      // it was not started, and another is to be made in its place
	Close()                      // it is gone; now all it printed is in its log
}

// OutputOf says whose output it is.
type OutputOf struct {
	Service  string
	Settings bundle.Settings
	Terminal bool // there is no stderr
	Adopted  bool // the container runs already
	Streams  int  // that all services have together
}

// outputs makes the real ones.
type outputs struct {
	fifos, logs string // folders
	socket      string // of a logging daemon
	logger      *slog.Logger
	copier      logs.Copier
	locks       sync.Map // service's name to *sync.Mutex: one writer per log
}

// output is that of a run. Both arrays hold stderr, then stdout.
type output struct {
	*outputs
	of      OutputOf
	fifo    [2]string
	stream  [2]*logs.Stream
	handing bool               // to a daemon
	handed  [2]chan error      // how that went
	giveUp  context.CancelFunc // of what is not handed over yet
	unlock  sync.Once
	lock    *sync.Mutex
}

// suffixes of a service's logs, and of its streams at a logging daemon.
var (
	logSuffix    = [2]string{".log", ".out.log"}
	streamSuffix = [2]string{"", ".out"}
)

func (o *outputs) open(of OutputOf) Output {
	lock, _ := o.locks.LoadOrStore(of.Service, &sync.Mutex{})
	out := &output{outputs: o, of: of, handing: !of.Adopted && !probesLog(of.Settings) && logs.External(o.socket), lock: lock.(*sync.Mutex)}
	out.lock.Lock() // The run before may still be finishing.
	if out.handing {
		out.removeHanded()
	}
	out.ready()
	return out
}

// probesLog reports whether a probe looks at the service's log, which a logging
// daemon would have instead.
func probesLog(s bundle.Settings) bool { return s.Ready.Kind == logKind || s.Health.Kind == logKind }

const logKind = "log"

// ready prepares the streams that no log is written of yet.
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
			out.logger.Error("service runs without a log", "service", out.of.Service, "error", err)
			continue
		}
		out.fifo[i] = path
		if !out.handing {
			out.copy(i)
			continue
		}
		// The shim waits for a reader as this one waits for the shim.
		handed := make(chan error, 1)
		out.handed[i] = handed
		go func() { handed <- out.handOver(ctx, i) }()
	}
}

// handedMark stands between the path of a FIFO that is handed over and a number
// that no other attempt has: a shim left over from an attempt that failed must
// not be taken for the writer of the next.
const handedMark = ".handed."

// removeHanded removes what an earlier supervisor had no time to remove.
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

// copy has a stream's log written.
func (out *output) copy(i int) {
	f, err := logs.OpenFIFO(out.fifo[i])
	if err != nil {
		out.logger.Error("service runs without a log", "service", out.of.Service, "error", err)
		out.fifo[i] = ""
		return
	}
	limit := out.of.Settings.LogSize
	if limit == 0 {
		limit = logs.Share(out.logs, out.of.Streams)
	}
	out.stream[i] = out.copier.Copy(f, logs.Options{
		Path: filepath.Join(out.logs, out.of.Service+logSuffix[i]), Limit: limit, Logger: out.logger,
		Ledger: out.path(i) + ".lost",
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
			out.logger.Error("logging daemon gets no log, a file does", "service", out.of.Service, "error", err)
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

// withdraw ends what is not handed over yet, and removes the FIFOs of what is.
func (out *output) withdraw() {
	out.giveUp()
	for i, handed := range out.handed {
		if handed != nil {
			<-handed // The container was never made.
			out.handed[i] = nil
		}
		if path := out.fifo[i]; path != "" && path != out.path(i) {
			_ = os.Remove(path)
			out.fifo[i] = ""
		}
	}
}

// handOver gives the daemon the read end of a stream as soon as the shim has
// opened the write end; the shim's own read end is not open by then.
func (out *output) handOver(ctx context.Context, i int) error {
	fd, err := logs.OpenReadEnd(ctx, out.fifo[i])
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return logs.HandOver(out.socket, out.of.Service+streamSuffix[i], fd)
}

// keep makes a FIFO meant for a daemon one of ours. The task is created: the
// shim has both ends open and needs no name any more.
func (out *output) keep(i int) {
	if err := os.Rename(out.fifo[i], out.path(i)); err != nil {
		out.logger.Error("service runs without a log", "service", out.of.Service, "error", err)
		return
	}
	out.fifo[i] = out.path(i)
	out.copy(i)
}

func (out *output) Close() {
	out.unlock.Do(func() {
		out.finish()
		out.lock.Unlock()
	})
}

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
