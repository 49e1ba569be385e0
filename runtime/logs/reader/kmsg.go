package reader

import (
	"bytes"
	"errors"
	"time"

	"keelson/runtime/kmsg"
)

const (
	kernelName  = "kernel"
	keelsonName = "keelson"

	// daemonFacility is that of keelson's messages in the kernel log (syslog(3)).
	daemonFacility = 3
	keelsonPrefix  = "keelson: "
)

// kernelLog reads the kernel log: keelson's own messages, or all others.
type kernelLog struct {
	log    kmsg.Log
	own    bool
	clock  *clock
	buffer []byte
	live   bool
}

func openKernelLog(path string, own bool, c *clock) (*kernelLog, error) {
	log, err := kmsg.Open(path)
	if err != nil {
		return nil, err
	}
	return &kernelLog{log: log, own: own, clock: c, buffer: make([]byte, kmsg.RecordLimit)}, nil
}

func (k *kernelLog) close()                { _ = k.log.Close() }
func (k *kernelLog) follow()               { k.live = true }
func (k *kernelLog) start(time.Time) error { return k.log.Rewind() }

func (k *kernelLog) next() (Entry, bool, error) {
	for {
		n, err := k.log.Read(k.buffer)
		switch {
		case errors.Is(err, kmsg.ErrOverwritten) && k.live:
			return Entry{Time: time.Now(), Name: messagesName(k.own), Gap: true}, true, nil
		case errors.Is(err, kmsg.ErrOverwritten):
			continue
		case err != nil || n == 0:
			return Entry{}, false, err
		}
		r, ok := kmsg.Parse(k.buffer[:n])
		if !ok {
			continue
		}
		if e, ok := kernelEntry(r, k.own); ok {
			e.Time = k.clock.wall(r.At)
			return e, true, nil
		}
	}
}

// messagesName returns the name of the log of keelson's own messages, or of all others.
func messagesName(own bool) string {
	if own {
		return keelsonName
	}
	return kernelName
}

// kernelEntry returns what a record is of keelson's own messages, or of all others, without its time.
func kernelEntry(r kmsg.Record, own bool) (Entry, bool) {
	text, mine := r.Text, false
	if r.Facility == daemonFacility {
		text, mine = bytes.CutPrefix(text, []byte(keelsonPrefix))
	}
	return Entry{Name: messagesName(own), Text: text}, mine == own
}
