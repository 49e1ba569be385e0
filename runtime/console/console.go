package console

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"keelson/runtime/fault"
	"keelson/runtime/timeline"
)

// prefix names the program in every line.
const prefix = "keelson: "

// Stdout is the device path of this process's standard output, for userspace mode, in
// which the consoles belong to the outer system.
const Stdout = "/proc/self/fd/1"

// queueLimit bounds the memory of queued messages, in bytes. Each message counts
// messageCost more than its length.
const (
	queueLimit  = 1 << 20
	messageCost = 64
)

// recordLimit is the longest record that the kernel accepts for its log: it refuses longer
// ones (EINVAL).
const recordLimit = 960

// Options of a console.
type Options struct {
	Devices  []string   // paths; none means /dev/console
	Kmsg     bool       // also write to the kernel log, at daemon.debug
	Timeline string     // file for Event, timeline.Path when empty
	Level    slog.Level // least level that Logger shows
	// Panicked is called when the named goroutine panics; the goroutine continues after
	// the call. If it is nil, the panic is logged.
	Panicked func(in string, value any, stack []byte)
}

// Console is the queue and its writer. Create one with New.
type Console struct {
	options Options
	devices []*device
	kmsg    *device
	record  *record

	mu      sync.Mutex
	queue   []Message
	cost    int
	dropped int
	closed  bool
	shown   []chan struct{} // closed once the queue has been shown
	wake    chan struct{}   // capacity 1: there is something to do
	done    chan struct{}   // closed when the writer has ended
}

// Message is one entry of the queue. Raw messages are not written to the kernel log.
type Message struct {
	Text string
	Raw  bool
}

// Consoles returns the device paths of the command line's console= values, in order and
// each once; the default when there are none.
func Consoles(values []string) []string {
	var devices []string
	seen := map[string]bool{}
	for _, value := range values {
		name, _, _ := strings.Cut(value, ",")
		path := "/dev/" + name
		switch {
		case name == "" || name == "null" || strings.ContainsAny(name, "/ \x00"):
			continue
		case strings.HasPrefix(name, "uart"): // an address, not a device
			path = "/dev/console"
		}
		if !seen[path] {
			seen[path] = true
			devices = append(devices, path)
		}
	}
	if len(devices) == 0 {
		return []string{"/dev/console"}
	}
	return devices
}

// New starts the writers, which open the devices, so New does not block.
func New(options Options) *Console {
	if len(options.Devices) == 0 {
		options.Devices = []string{"/dev/console"}
	}
	if options.Timeline == "" {
		options.Timeline = timeline.Path
	}
	c := &Console{options: options, wake: make(chan struct{}, 1), done: make(chan struct{})}
	for _, path := range options.Devices {
		c.devices = append(c.devices, newDevice(path))
	}
	if options.Kmsg {
		c.kmsg = newDevice("/dev/kmsg")
	}
	c.record = newRecord(options.Timeline, c.Logger())
	go c.guard("console", c.done, c.write)
	go c.guard("timeline", c.record.done, c.record.write)
	return c
}

// panicPause is the time before a goroutine continues after a panic, which may recur.
const panicPause = time.Second

// guard calls f until it returns without a panic, then closes done.
func (c *Console) guard(name string, done chan struct{}, f func()) {
	defer close(done)
	for !c.survive(name, f) {
		<-time.After(panicPause)
	}
}

func (c *Console) survive(name string, f func()) (ended bool) {
	defer func() {
		r := recover()
		switch {
		case r == nil:
		case c.options.Panicked != nil:
			c.options.Panicked(name, r, debug.Stack())
		default:
			c.Logger().Error("recovered from a panic", "in", name, "panic", r)
		}
	}()
	f()
	return true
}

// Logger formats as `keelson: MESSAGE key=value…`.
func (c *Console) Logger() *slog.Logger {
	return slog.New(&handler{console: c, level: c.options.Level})
}

// Event shows e and has it appended to the timeline.
func (c *Console) Event(e timeline.Event) {
	c.Put(Message{Text: prefix + e.String() + "\n"})
	c.record.put(e)
}

// Raw shows text unchanged, such as the output of a container.
func (c *Console) Raw(text []byte) {
	if len(text) == 0 {
		return
	}
	s := string(text)
	if !strings.HasSuffix(s, "\n") {
		s += "\n"
	}
	c.Put(Message{Text: s, Raw: true})
}

// Close shows and records what is queued, and ends the writers. When ctx ends first, the
// rest is dropped and the error says so.
func (c *Console) Close(ctx context.Context) error {
	c.record.close() // Before the console, to which it may log an error.
	err := wait(ctx, c.record.done, "write the timeline")
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.signal()
	return errors.Join(err, wait(ctx, c.done, "flush the console"))
}

// Flush waits until all earlier messages have been shown, or ctx ends.
func (c *Console) Flush(ctx context.Context) error {
	shown := make(chan struct{})
	c.mu.Lock()
	c.shown = append(c.shown, shown)
	c.mu.Unlock()
	c.signal()
	select {
	case <-c.done: // The queue is empty.
		return nil
	default:
		return wait(ctx, shown, "flush the console")
	}
}

// Queued returns the messages that have not been shown yet.
func (c *Console) Queued() []Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.queue)
}

func wait(ctx context.Context, done <-chan struct{}, what string) error {
	select {
	case <-done:
		return nil
	default:
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("cannot %s: %w", what, ctx.Err())
	}
}

// Put shows a message that another console had queued.
func (c *Console) Put(m Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	if c.cost+len(m.Text)+messageCost > queueLimit {
		c.dropped++
		return
	}
	c.queue = append(c.queue, m)
	c.cost += len(m.Text) + messageCost
	c.signal()
}

func (c *Console) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// take empties the queue; last is true when nothing will follow.
func (c *Console) take() (batch []Message, shown []chan struct{}, last bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	batch, c.queue, c.cost = c.queue, nil, 0
	shown, c.shown = c.shown, nil
	if c.dropped > 0 {
		lost := fmt.Sprintf("%s%d messages lost, the console is too slow\n", prefix, c.dropped)
		batch = append(batch, Message{Text: lost})
		c.dropped = 0
	}
	return batch, shown, c.closed
}

// write is the goroutine that owns the devices.
func (c *Console) write() {
	for range c.wake {
		batch, shown, last := c.take()
		for _, m := range batch {
			fault.Here("console")
			c.show(m)
		}
		for _, done := range shown {
			close(done)
		}
		if last {
			c.closeDevices()
			return
		}
	}
}

func (c *Console) show(m Message) {
	for _, d := range c.devices {
		d.write(m.Text)
	}
	if c.kmsg != nil && !m.Raw {
		c.kmsg.write(kmsgPriority + cut(m.Text, recordLimit))
	}
}

// cut shortens a text that is longer than limit.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…\n"
}

func (c *Console) closeDevices() {
	for _, d := range c.devices {
		d.drain()
		d.close()
	}
	if c.kmsg != nil {
		c.kmsg.close()
	}
}
