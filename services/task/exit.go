package task

import (
	"fmt"
	"syscall"
	"time"

	"keelson/runtime/signals"
)

// Exit is how a container ended.
type Exit struct {
	At      time.Duration // CLOCK_BOOTTIME
	Code    int           // 128+N after signal N
	OOM     bool          // the kernel killed one of its processes for lack of memory
	Unknown bool          // the end was not seen
}

// Success reports whether the container ended with code 0.
func (x Exit) Success() bool { return x.Code == 0 && !x.Unknown }

// Reasons of exits.
const (
	Succeeded   = "success" // the exit status was 0
	Exited      = "exit"    // it was another one
	Signalled   = "signal"
	OutOfMemory = "oom"
	NotSeen     = "unknown"
)

// Signal returns the signal that ended the container; 0: none did.
func (x Exit) Signal() syscall.Signal {
	if number := x.Code - 128; !x.Unknown && number > 0 && number <= 64 {
		return syscall.Signal(number)
	}
	return 0
}

// Reason returns the kind of the exit.
func (x Exit) Reason() string {
	switch {
	case x.OOM:
		return OutOfMemory
	case x.Unknown:
		return NotSeen
	case x.Signal() != 0:
		return Signalled
	case x.Code == 0:
		return Succeeded
	}
	return Exited
}

// String describes the exit, such as "exited 3" or "killed by SIGKILL (out of memory)".
func (x Exit) String() string {
	text := fmt.Sprintf("exited %d", x.Code)
	if x.Unknown {
		text = "exited, status unknown"
	} else if signal := x.Signal(); signal != 0 {
		text = "killed by " + signals.Name(signal)
	}
	if x.OOM {
		text += " (out of memory)"
	}
	return text
}
