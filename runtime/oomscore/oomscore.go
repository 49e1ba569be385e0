// Package oomscore protects the processes that the system depends on from the kernel's
// OOM killer, and keeps others from inheriting the protection: a child begins with the
// value of its parent.
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
	// Protected is for processes that are killed last.
	Protected = -999
	// Ordinary is for all other processes.
	Ordinary = 0
	// First is for processes that are killed before others.
	First = 1000
)

// self applies to the whole process, whichever thread uses it.
const self = "/proc/self/oom_score_adj"

// Own returns the value of this process.
func Own() (int, error) {
	text, err := os.ReadFile(self)
	if err != nil {
		return 0, fmt.Errorf("cannot read oom_score_adj: %w", err)
	}
	value, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("cannot read oom_score_adj: %w", err)
	}
	return value, nil
}

// SetOwn sets the value of this process.
func SetOwn(value int) error {
	// Not os.WriteFile: it would truncate, which is one more call.
	f, err := os.OpenFile(self, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("cannot set oom_score_adj: %w", err)
	}
	defer f.Close()
	return Write(f, value)
}

// Write sets the value of the process whose open oom_score_adj f is. It returns ESRCH
// when the process has ended.
func Write(f *os.File, value int) error {
	if _, err := f.WriteString(strconv.Itoa(value)); err != nil {
		return fmt.Errorf("cannot set oom_score_adj: %w", err)
	}
	return nil
}

// Inherited reports whether this process is protected, so that its children would be too.
func Inherited() bool {
	value, err := Own()
	return err == nil && value == Protected
}

// Renounce drops an inherited protection.
func Renounce() error {
	if !Inherited() {
		return nil
	}
	return SetOwn(Ordinary)
}
