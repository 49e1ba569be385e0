package agent

import (
	"io/fs"
	"time"
)

// Port is the name of the virtio-serial port on which the agent listens.
const Port = "org.keelson.agent.0"

// ExecArgs are the arguments of Exec.
type ExecArgs struct {
	Args    []string
	Env     []string
	Stdin   []byte
	Timeout time.Duration // the program is killed after that; 0: five minutes
}

// ExecResult is the exit code of a program, or the name of the signal that killed it, and
// its output.
type ExecResult struct {
	Code           int
	Signal         string
	Stdout, Stderr string
}

// FileArgs are the arguments of WriteFile.
type FileArgs struct {
	Path string
	Data []byte
	Mode fs.FileMode
}

// SignalArgs are the arguments of Signal.
type SignalArgs struct {
	PID, Signal int
}

// Process is an entry of the guest's process table.
type Process struct {
	PID, PPID int
	State     string // one letter, as in proc_pid_stat(5)
	Name      string
	Args      []string // empty for kernel threads
	RSS, Anon int64    // bytes, from proc_pid_status(5)
}
