// Package execute runs programs in containers that run already, through containerd: as `ctr tasks
// exec` does, and for clients of the control API (Handler), whose connection carries input, output, the
// size of the terminal and the exit status as messages of a WebSocket (RFC 6455); see
// control.Client.Exec.
//
// A program has what the container's own has (user, capabilities, environment, folder), unless it is
// told otherwise. Its output passes through FIFOs that the shim opens, so containerd may be
// restarted meanwhile.
package execute
