package agent

import (
	"io/fs"
	"time"
)

// Port is the name of the virtio-serial port the agent listens on.
const Port = "org.keelson.agent.0"

// ExecArgs asks for a program to be run to its end.
type ExecArgs struct {
	Args    []string
	Env     []string
	Stdin   []byte
	Timeout time.Duration // killed after that; a minute when zero
}

// ExecResult is how it ended: by an exit code, or a signal's name.
type ExecResult struct {
	Code           int
	Signal         string
	Stdout, Stderr string
}

// FileArgs is a file to write.
type FileArgs struct {
	Path string
	Data []byte
	Mode fs.FileMode
}

// SignalArgs is a signal to send.
type SignalArgs struct {
	PID, Signal int
}

// Process is one line of the guest's process table.
type Process struct {
	PID, PPID int
	State     string // one letter, as in proc_pid_stat(5)
	Name      string
	Args      []string // empty for kernel threads
	RSS, Anon int64    // bytes, from proc_pid_status(5)
}
