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

// String describes the exit, such as "exited 3" or "killed by SIGKILL (out of memory)".
func (x Exit) String() string {
	text := fmt.Sprintf("exited %d", x.Code)
	if x.Unknown {
		text = "exited, status unknown"
	} else if number := x.Code - 128; number > 0 && number <= 64 {
		text = "killed by " + signals.Name(syscall.Signal(number))
	}
	if x.OOM {
		text += " (out of memory)"
	}
	return text
}
