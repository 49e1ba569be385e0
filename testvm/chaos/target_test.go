package chaos

import (
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// target is the system under test. Faults, checks and the client access it by this
// interface. Process ids and paths are those of its PID 1.
type target interface {
	// processes returns all processes except PID 1 and those of the test.
	processes() ([]process, error)
	// kill sends a signal. It does nothing if the process has ended.
	kill(pid int, s syscall.Signal)
	// run runs a program in the system's root. It must end within answerTime.
	run(args ...string) (stdout string, err error)
	readFile(path string) ([]byte, error)
	writeFile(path string, text []byte) error
	// dial connects to a port of the system.
	dial(port int) (net.Conn, error)
	// slow returns the factor by which the target is slower than the host's kernel.
	slow() time.Duration
	// extra returns the services other than redis and the targets of faults.
	extra() []string
	// powerOff powers the system off and fails the test if it does not end cleanly.
	powerOff(t *testing.T)
}

// answerTime is long because a machine may be emulated on a busy host.
const answerTime = 3 * time.Minute

// process is a process of the system.
type process struct {
	pid, parent int
	args        []string // empty for a zombie
}

func (p process) program() string {
	if len(p.args) == 0 {
		return ""
	}
	switch name := filepath.Base(p.args[0]); {
	case strings.HasPrefix(name, "redis-server"): // It changes its title.
		return "redis-server"
	case name == "sleep", name == "usleep": // They are applets of busybox.
		return "busybox"
	default:
		return name
	}
}

func (p process) has(words ...string) bool {
	for i := range p.args {
		if i+len(words) <= len(p.args) && slices.Equal(p.args[i:i+len(words)], words) {
			return true
		}
	}
	return len(words) == 0
}

// system is a target whose processes and services can be found by name.
type system struct{ target }

// named returns the processes of a program with these words in their arguments.
func (s system) named(program string, words ...string) (pids []int) {
	all, _ := s.processes()
	for _, p := range all {
		if p.program() == program && p.has(words...) {
			pids = append(pids, p.pid)
		}
	}
	return pids
}

func (s system) supervisor() []int      { return s.named("service", "supervise") }
func (s system) containerd() []int      { return s.named("containerd") }
func (s system) shim(name string) []int { return s.named("containerd-shim-runc-v2", "-id", name) }

// sh runs a script with the system's busybox; args are $1 and so on.
func (s system) sh(script string, args ...string) (string, error) {
	return s.run(append([]string{"/bin/busybox", "sh", "-c", script, "chaos"}, args...)...)
}

// state is the state of a service in `service list --json`.
type state struct {
	Name     string `json:"name"`
	State    string `json:"state"`
	PID      int    `json:"pid"`
	Restarts int    `json:"restarts"`
	Error    string `json:"error"`
	Status   string `json:"status"`
}

// service runs the command service.
func (s system) service(args ...string) (string, error) {
	return s.run(append([]string{"/usr/bin/service"}, args...)...)
}

// list returns the state of all services, nil while the supervisor does not answer.
func (s system) list() map[string]state {
	out, _ := s.service("list", "--json")
	var all []state
	if json.Unmarshal([]byte(out), &all) != nil {
		return nil
	}
	states := map[string]state{}
	for _, v := range all {
		states[v.Name] = v
	}
	return states
}

// prepare limits the file systems that faults fill, and makes bundles writable.
func (s system) prepare(t *testing.T) {
	t.Helper()
	_, err := s.sh(`busybox mount -o remount,size=16m,nr_inodes=3000 /run && busybox mount -o remount,size=128m /var &&
		busybox mount -o remount,bind,rw /`)
	if err != nil {
		t.Fatal(fmt.Errorf("cannot prepare the system: %w", err))
	}
}
