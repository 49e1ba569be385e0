// Package signals parses and formats signals as users know them: SIGTERM, INT, 15,
// SIGRTMIN+3. It sends and receives none.
//
// Real-time signals have the numbers of the C libraries, which keep the first two for
// themselves (signal(7)): SIGRTMIN is 34, SIGRTMAX is 64.
package signals

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	rtMin = syscall.Signal(34)
	rtMax = syscall.Signal(64)
)

// Parse returns the signal for a name with or without SIG in any case, a number,
// SIGRTMIN+N or SIGRTMAX-N. It reports whether there is such a signal.
func Parse(text string) (syscall.Signal, bool) {
	s := number(text)
	return s, s > 0 && s <= rtMax
}

func number(text string) syscall.Signal {
	if n, err := strconv.ParseUint(text, 10, 8); err == nil {
		return syscall.Signal(n)
	}
	name := "SIG" + strings.TrimPrefix(strings.ToUpper(text), "SIG")
	if rest, ok := strings.CutPrefix(name, "SIGRTMIN"); ok {
		return offsetFrom(rtMin, rest, "+")
	}
	if rest, ok := strings.CutPrefix(name, "SIGRTMAX"); ok {
		return offsetFrom(rtMax, rest, "-")
	}
	return unix.SignalNum(name)
}

func offsetFrom(base syscall.Signal, rest, sign string) syscall.Signal {
	if rest == "" {
		return base
	}
	digits, ok := strings.CutPrefix(rest, sign)
	n, err := strconv.ParseUint(digits, 10, 8)
	if !ok || err != nil || syscall.Signal(n) > rtMax-rtMin {
		return 0
	}
	if sign == "-" {
		return base - syscall.Signal(n)
	}
	return base + syscall.Signal(n)
}

// Name returns the name of a signal such as SIGTERM, or "signal 37" where it has none.
func Name(s syscall.Signal) string {
	if name := unix.SignalName(s); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(s))
}
