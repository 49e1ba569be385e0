// Package connection keeps the connection to containerd: it is made when it is
// needed, and made again after it was lost. A containerd that does not listen or
// does not answer is killed, for PID 1 to start it again; shims and services keep
// running.
//
// It knows neither services nor their states, and retries no call: its users call
// Get again after Failed has returned true.
package connection

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"keelson/services/containerd"
)

// Tasks is what the supervisor needs of containerd. containerd.Client implements it.
type Tasks interface {
	Create(ctx context.Context, s containerd.Spec) (pid int, err error)
	Start(ctx context.Context, namespace, id string) error
	Wait(ctx context.Context, namespace, id string) (containerd.Exit, error)
	Delete(ctx context.Context, namespace, id string) error
	List(ctx context.Context, namespace string) ([]containerd.Task, error)
	Sweep(ctx context.Context, namespaces []string, wanted func(namespace, id string) bool) ([]containerd.Swept, error)
	Ping(ctx context.Context) error // the cheapest call there is
	KillDaemon() error              // sends SIGKILL to containerd itself
	Close() error
}

// ListenTime is how long containerd may take from its start until it listens. The
// time is doubled whenever it was too short: the machine may be slow.
const ListenTime = 30 * time.Second

// Options of a connection. All are required but Changed.
type Options struct {
	Dial         func(context.Context) (Tasks, error) // waits until containerd listens
	KillStarting func() error                         // kills a containerd that does not listen
	Logger       *slog.Logger
	Changed      func(connected bool) // called when the connection was made, or lost; must not block
}

// Connection is a connection to containerd. Its methods may be called from any
// goroutine.
type Connection struct {
	options Options
	lock    chan struct{}             // a lock that can be waited for with a context; guards the following
	tasks   Tasks                     // nil: not connected
	allowed time.Duration             // how long containerd may take to listen
	down    atomic.Pointer[time.Time] // since when a connection is missing; nil: none is missing
}

// New returns a connection that is not made yet.
func New(options Options) *Connection {
	if options.Changed == nil {
		options.Changed = func(bool) {}
	}
	return &Connection{options: options, lock: make(chan struct{}, 1), allowed: ListenTime}
}

// Get returns the connection. It waits until containerd listens.
func (c *Connection) Get(ctx context.Context) (Tasks, error) {
	select {
	case c.lock <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-c.lock }()
	for c.tasks == nil {
		c.missing()
		tasks, err := c.connect(ctx)
		if err != nil {
			return nil, err
		}
		c.tasks = tasks
		if tasks != nil {
			c.down.Store(nil)
			c.options.Changed(true)
		}
	}
	return c.tasks, nil
}

// connect waits for containerd to listen. One that takes too long is killed; connect
// then returns neither tasks nor an error, since PID 1 starts another.
func (c *Connection) connect(ctx context.Context) (Tasks, error) {
	limited, cancel := context.WithTimeout(ctx, c.allowed)
	defer cancel()
	tasks, err := c.options.Dial(limited)
	if err == nil {
		c.allowed = ListenTime
		return tasks, nil
	}
	if ctx.Err() != nil || limited.Err() == nil {
		return nil, err
	}
	c.options.Logger.Error("containerd does not listen on its socket and is killed; services keep running", "waited", c.allowed)
	if err := c.options.KillStarting(); err != nil {
		c.options.Logger.Error("cannot kill containerd", "error", err)
	}
	c.allowed *= 2
	return nil, nil
}

// Current returns the connection if it is made, else nil. It never waits for
// containerd.
func (c *Connection) Current() Tasks {
	select {
	case c.lock <- struct{}{}:
		defer func() { <-c.lock }()
		return c.tasks
	default: // It is being made.
		return nil
	}
}

// Lost reports that tasks cannot be used any more. It does nothing when the
// connection has been replaced.
func (c *Connection) Lost(tasks Tasks) {
	c.lock <- struct{}{}
	defer func() { <-c.lock }()
	if c.tasks == tasks && tasks != nil {
		c.missing()
		c.drop()
		c.options.Changed(false)
	}
}

// missing records that a connection is missing, unless it was before.
func (c *Connection) missing() {
	now := time.Now()
	c.down.CompareAndSwap(nil, &now)
}

// Down returns for how long a connection has been missing. It does not wait.
func (c *Connection) Down() time.Duration {
	since := c.down.Load()
	if since == nil {
		return 0
	}
	return time.Since(*since)
}

// Close closes the connection if it is made.
func (c *Connection) Close() {
	c.lock <- struct{}{}
	defer func() { <-c.lock }()
	c.drop()
}

func (c *Connection) drop() {
	if c.tasks != nil {
		_ = c.tasks.Close()
		c.tasks = nil
	}
}
