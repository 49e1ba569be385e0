package control

import (
	"context"
	"io"
	"time"

	"keelson/runtime/paths"
)

// SocketPath is where the supervisor listens.
const SocketPath = paths.State + "/control.sock"

// GateSocketPath is where the supervisor listens for the gate, which runs as the user GateUser in
// the group with the same number.
// The folder has no other files, so that the gate can bind it: a bind of the socket itself would
// be that of a supervisor which has ended.
const (
	GateSocketPath = paths.Gate + "/control.sock"
	GateUser       = 64743 // no package of Debian has it
)

// Exit statuses of the command line, after systemctl(1) and the LSB.
const (
	CodeOK         = 0
	CodeFailed     = 1
	CodeUsage      = 2
	CodeNotRunning = 3
	CodeNotFound   = 4
)

// Verbs of a Request.
const (
	List     = "list"
	Start    = "start"
	Stop     = "stop"
	Restart  = "restart"
	Kill     = "kill" // signal the first process of a service
	PowerOff = "poweroff"
	Reboot   = "reboot"
	Halt     = "halt"
	Swap     = "swap"     // replace a service by the artifact in the body
	Rollback = "rollback" // replace a service by its previous version
	Remove   = "remove"   // stop a service, and forget it or mask that of the image
	Diff     = "diff"     // list what differs from the image
)

// Programs stands for keelson's own programs where a service has its name. No service can
// have it.
const Programs = "-programs"

// Running is the state of a service that runs.
const Running = "running"

// Service is the state of one service.
type Service struct {
	Name     string    `json:"name"`
	State    string    `json:"state"`
	PID      int       `json:"pid,omitempty"`
	Since    time.Time `json:"since,omitzero"` // when it entered State
	Restarts int       `json:"restarts"`
	LastExit string    `json:"lastExit,omitempty"`
	Error    string    `json:"error,omitempty"`
	Status   string    `json:"status,omitempty"`  // what it reports, or waits for
	Version  string    `json:"version,omitempty"` // digest of what replaces the bundle of the image
	Sockets  []string  `json:"sockets,omitempty"` // that are kept for it

	Probe    string   `json:"probe,omitempty"`    // last result of its probes: ready, not ready or unhealthy
	Bundle   string   `json:"bundle,omitempty"`   // folder of its bundle
	After    []string `json:"after,omitempty"`    // services that must be ready, or not going to run, before it starts
	Requires []string `json:"requires,omitempty"` // those of them without which it does not run
	// Conditions that must be met before it starts, such as device:/dev/ttyUSB0, with "!" in front of
	// those that are not met.
	Conditions []string `json:"conditions,omitempty"`
}

// Difference is a service that differs from the image.
type Difference struct {
	Name     string    `json:"name"`
	Change   string    `json:"change"`             // swapped, added, removed, reverted or, for Programs, not in use
	Version  string    `json:"version,omitempty"`  // digest of what runs
	Image    string    `json:"image,omitempty"`    // name of the container image of Version, if that is one
	Previous string    `json:"previous,omitempty"` // what Rollback would bring: a digest, image or removed
	Since    time.Time `json:"since,omitzero"`
	By       string    `json:"by,omitempty"`
}

// Request requests Verb for the services in Names. List without names lists all.
type Request struct {
	Verb  string
	Names []string
	Force bool // Swap: also a version that was rejected
	Plan  bool // Swap, Rollback, Remove: only say what would change

	Signal string // Kill: its name or number; empty: SIGTERM

	Programs  bool          // Swap, Rollback: keelson's own programs; Names is empty
	Probation time.Duration // of Programs; 0: the default

	Body     io.Reader         // artifact of Swap
	Progress func(text string) // receives the progress of Swap, Rollback and Remove; a client may leave it nil
	Peer     string            // set by Server: the process that sent the request, for people
}

// Response is the result of a request. Code is an exit status for the command line.
type Response struct {
	Services []Service
	Changes  []Difference // Diff
	Plan     []string
	Note     string // Swap, Rollback, Remove: what else to know of the change, for people
	Error    string
	Code     int
}

// Handler answers requests. It is called from several goroutines. The context ends when
// the client closes the connection, or when the server ends.
type Handler interface {
	Control(ctx context.Context, r Request) Response
}
