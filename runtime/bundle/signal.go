package bundle

import (
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Real-time signals as C libraries number them, which keep the first two of the
// kernel's for themselves (signal(7)).
const (
	rtMin = syscall.Signal(34)
	rtMax = syscall.Signal(64)
)

// signal reads a name with or without SIG, a number, SIGRTMIN+N or SIGRTMAX-N.
func signal(to *syscall.Signal, value string) string {
	found := signalNumber(value)
	if found <= 0 || found > rtMax {
		return "want a signal such as SIGTERM, INT, 15 or SIGRTMIN+3"
	}
	*to = found
	return ""
}

func signalNumber(value string) syscall.Signal {
	if n, err := strconv.ParseUint(value, 10, 8); err == nil {
		return syscall.Signal(n)
	}
	name := "SIG" + strings.TrimPrefix(strings.ToUpper(value), "SIG")
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
