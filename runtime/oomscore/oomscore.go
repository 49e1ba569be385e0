// Package oomscore keeps the processes without which nothing runs from being
// killed when memory is short, and keeps others from having the same by
// inheritance: a child begins with its parent's value.
//
// Values are -1000 (never killed) to 1000 (killed first). Errors are those of
// open(2) and write(2); lowering a value takes CAP_SYS_RESOURCE.
//
// Sources: proc_pid_oom_score_adj(5), config.md of the OCI runtime spec
// (process.oomScoreAdj).
package oomscore

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

const (
	// Protected is killed when there is hardly anything else left.
	Protected = -999
	// Ordinary is everything else.
	Ordinary = 0
)

// self is a file of the whole process, whichever thread asks.
const self = "/proc/self/oom_score_adj"

// Own is this process's value.
func Own() (int, error) {
	text, err := os.ReadFile(self)
	if err != nil {
		return 0, fmt.Errorf("cannot ask what is killed when memory is short: %w", err)
	}
	value, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("cannot ask what is killed when memory is short: %w", err)
	}
	return value, nil
}

// SetOwn sets this process's value.
func SetOwn(value int) error {
	// Not os.WriteFile: it would truncate, which is one more call.
	f, err := os.OpenFile(self, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("cannot set what is killed when memory is short: %w", err)
	}
	defer f.Close()
	return Write(f, value)
}

// Write sets the value of the process whose open oom_score_adj f is. ESRCH: it
// has ended.
func Write(f *os.File, value int) error {
	if _, err := f.WriteString(strconv.Itoa(value)); err != nil {
		return fmt.Errorf("cannot set what is killed when memory is short: %w", err)
	}
	return nil
}

// Inherited tells whether this process is protected, so that its children would
// be too.
func Inherited() bool {
	value, err := Own()
	return err == nil && value == Protected
}

// Renounce gives up a protection that was inherited.
func Renounce() error {
	if !Inherited() {
		return nil
	}
	return SetOwn(Ordinary)
}
