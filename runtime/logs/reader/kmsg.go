package reader

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	kernelName  = "kernel"
	keelsonName = "keelson"

	// recordLimit is the longest record of the kernel log.
	recordLimit = 8 << 10
	// daemonFacility is that of keelson's messages in the kernel log (syslog(3)).
	daemonFacility = 3
	keelsonPrefix  = "keelson: "
)

// kmsg reads the kernel log: keelson's own messages, or all others.
type kmsg struct {
	f      *os.File
	own    bool
	clock  *clock
	buffer []byte
	live   bool
}

// isKmsg reports whether path is the kernel log. In userspace mode it is a link to null.
func isKmsg(path string) bool {
	var st unix.Stat_t
	return unix.Stat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == unix.Mkdev(1, 11)
}

func openKmsg(path string, own bool, c *clock) (*kmsg, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open the kernel log: %w", err)
	}
	return &kmsg{f: f, own: own, clock: c, buffer: make([]byte, recordLimit)}, nil
}

func (k *kmsg) close()  { _ = k.f.Close() }
func (k *kmsg) follow() { k.live = true }

func (k *kmsg) start(time.Time) error {
	_, err := k.f.Seek(0, unix.SEEK_SET)
	return err
}

func (k *kmsg) next() (Entry, bool, error) {
	for {
		n, err := k.read()
		switch {
		case errors.Is(err, unix.EPIPE) && k.live: // Records were overwritten.
			return Entry{Time: time.Now(), Name: k.name(), Gap: true}, true, nil
		case errors.Is(err, unix.EPIPE):
			continue
		case errors.Is(err, unix.EAGAIN) || err == nil && n == 0:
			return Entry{}, false, nil
		case err != nil:
			return Entry{}, false, fmt.Errorf("cannot read the kernel log: %w", err)
		}
		at, facility, text, ok := parseRecord(k.buffer[:n])
		if !ok {
			continue
		}
		mine := facility == daemonFacility && bytes.HasPrefix(text, []byte(keelsonPrefix))
		if mine != k.own {
			continue
		}
		if mine {
			text = text[len(keelsonPrefix):]
		}
		return Entry{Time: k.clock.wall(at), Name: k.name(), Text: text}, true, nil
	}
}

func (k *kmsg) name() string {
	if k.own {
		return keelsonName
	}
	return kernelName
}

// read reads a record, and does not wait for one.
func (k *kmsg) read() (n int, err error) {
	conn, err := k.f.SyscallConn()
	if err != nil {
		return 0, err
	}
	cerr := conn.Control(func(fd uintptr) {
		for {
			if n, err = unix.Read(int(fd), k.buffer); !errors.Is(err, unix.EINTR) {
				return
			}
		}
	})
	return n, errors.Join(err, cerr)
}

// wait waits until there is a record. It ends with an error when the log is closed.
func (k *kmsg) wait() error {
	conn, err := k.f.SyscallConn()
	if err != nil {
		return err
	}
	return conn.Read(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 0)
		return err != nil && !errors.Is(err, unix.EINTR) || n > 0
	})
}

// parseRecord reads `PRIORITY,SEQUENCE,MICROSECONDS,FLAGS[,…];TEXT\n`, which further lines
// with a leading space may follow. Bytes that are not printable ASCII are written \xHH.
func parseRecord(b []byte) (at time.Duration, facility int, text []byte, ok bool) {
	head, text, ok := bytes.Cut(b, []byte(";"))
	if !ok {
		return 0, 0, nil, false
	}
	fields := bytes.SplitN(head, []byte(","), 4)
	if len(fields) < 3 {
		return 0, 0, nil, false
	}
	priority, err1 := strconv.ParseUint(string(fields[0]), 10, 16)
	micros, err2 := strconv.ParseUint(string(fields[2]), 10, 53)
	if err1 != nil || err2 != nil {
		return 0, 0, nil, false
	}
	text, _, _ = bytes.Cut(text, []byte("\n"))
	return time.Duration(micros) * time.Microsecond, int(priority >> 3), unescape(text), true
}

// unescape replaces \xHH, in place.
func unescape(b []byte) []byte {
	out := b[:0]
	for i := 0; i < len(b); i++ {
		if i+3 < len(b) && b[i] == '\\' && b[i+1] == 'x' {
			if v, err := strconv.ParseUint(string(b[i+2:i+4]), 16, 8); err == nil {
				out = append(out, byte(v))
				i += 3
				continue
			}
		}
		out = append(out, b[i])
	}
	return out
}
