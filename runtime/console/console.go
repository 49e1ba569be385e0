package console

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"

	"keelson/runtime/timeline"
)

// prefix names the program in every line.
const prefix = "keelson: "

// Stdout as a device is this process's standard output, for where the
// consoles are somebody else's.
const Stdout = "/proc/self/fd/1"

// queueLimit bounds the bytes waiting to be written.
const queueLimit = 1 << 20

// Options say where messages go.
type Options struct {
	Devices  []string   // paths; none means /dev/console
	Kmsg     bool       // also write to the kernel log, at daemon.debug
	Timeline string     // file for Event, timeline.Path when empty
	Level    slog.Level // least level that Logger shows
}

// Console is the queue and its writer. Make one with New.
type Console struct {
	options Options
	devices []*device
	kmsg    *device

	mu      sync.Mutex
	queue   []message
	bytes   int
	dropped int
	closed  bool
	wake    chan struct{} // capacity 1: there is something to do
	done    chan struct{} // closed when the writer has ended
}

// message is one entry of the queue; raw ones are not for the kernel log.
type message struct {
	text  string
	raw   bool
	shown chan struct{} // nothing to show: closed when it is this one's turn
}

// Consoles gives the device paths of the command line's console= values, in
// order and each once; the default when there are none.
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

// New starts the writer. Devices are opened by it, so New does not block.
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
	go c.write()
	return c
}

// Logger formats as `keelson: MESSAGE key=value…`.
func (c *Console) Logger() *slog.Logger {
	return slog.New(&handler{console: c, level: c.options.Level})
}

// Event shows e and appends it to the timeline.
func (c *Console) Event(e timeline.Event) {
	c.put(message{text: prefix + e.String() + "\n"})
	err := timeline.Append(c.options.Timeline, e)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // Its folder comes early and may go late.
		c.Logger().Error("timeline has a gap", "error", err)
	}
}

// Raw shows text as it is, such as the output of a container.
func (c *Console) Raw(text []byte) {
	if len(text) == 0 {
		return
	}
	s := string(text)
	if !strings.HasSuffix(s, "\n") {
		s += "\n"
	}
	c.put(message{text: s, raw: true})
}

// Flush waits until all that was said before has been shown, or ctx ends.
func (c *Console) Flush(ctx context.Context) error {
	shown := make(chan struct{})
	c.put(message{shown: shown})
	select {
	case <-shown:
	case <-c.done:
	case <-ctx.Done():
		return fmt.Errorf("cannot flush the console: %w", ctx.Err())
	}
	return nil
}

// Close shows what is queued and ends the writer. When ctx ends first, what
// is left is given up; the error says so.
func (c *Console) Close(ctx context.Context) error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.signal()
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("cannot flush the console: %w", ctx.Err())
	}
}

func (c *Console) put(m message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	if c.bytes+len(m.text) > queueLimit {
		c.dropped++
		return
	}
	c.queue = append(c.queue, m)
	c.bytes += len(m.text)
	c.signal()
}

func (c *Console) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// take empties the queue; last is true when nothing will follow.
func (c *Console) take() (batch []message, last bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	batch, c.queue, c.bytes = c.queue, nil, 0
	if c.dropped > 0 {
		lost := fmt.Sprintf("%s%d messages lost, the console is too slow\n", prefix, c.dropped)
		batch = append(batch, message{text: lost})
		c.dropped = 0
	}
	return batch, c.closed
}

// write is the goroutine that owns the devices.
func (c *Console) write() {
	defer close(c.done)
	for range c.wake {
		batch, last := c.take()
		for _, m := range batch {
			c.show(m)
		}
		if last {
			c.closeDevices()
			return
		}
	}
}

func (c *Console) show(m message) {
	if m.shown != nil {
		close(m.shown)
		return
	}
	for _, d := range c.devices {
		d.write(m.text)
	}
	if c.kmsg != nil && !m.raw {
		c.kmsg.write(kmsgPriority + m.text)
	}
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
