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

// target is the system under test: all that faults, checks and the client do to
// it, they do by this. Process ids and paths are those of its PID 1.
type target interface {
	// processes are all of the system's but PID 1 and those of the test.
	processes() ([]process, error)
	// kill sends a signal; to one that has ended it does nothing.
	kill(pid int, s syscall.Signal)
	// run runs a program of the system's root to its end, which must come within
	// answerTime.
	run(args ...string) (stdout string, err error)
	readFile(path string) ([]byte, error)
	writeFile(path string, text []byte) error
	// dial connects to a port of the system's.
	dial(port int) (net.Conn, error)
	// slow is how much longer than on this kernel everything takes.
	slow() time.Duration
	// extra are the services besides redis and those of faults.
	extra() []string
	// ends powers the system off and wants it to end well.
	ends(t *testing.T)
}

// answerTime is generous: a machine may be emulated on a busy host.
const answerTime = 3 * time.Minute

// process is one of the system's.
type process struct {
	pid, parent int
	args        []string // none: a zombie
}

func (p process) program() string {
	if len(p.args) == 0 {
		return ""
	}
	switch name := filepath.Base(p.args[0]); {
	case strings.HasPrefix(name, "redis-server"): // It changes its title.
		return "redis-server"
	case name == "sleep", name == "usleep": // They come by way of busybox.
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

// system is a target with the names of what is in it.
type system struct{ target }

// named are the processes of a program with these words in their arguments.
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

// sh runs a script by the system's busybox; $1 and so on are args.
func (s system) sh(script string, args ...string) (string, error) {
	return s.run(append([]string{"/bin/busybox", "sh", "-c", script, "chaos"}, args...)...)
}

// state is what `service list` tells of one.
type state struct {
	Name     string `json:"name"`
	State    string `json:"state"`
	PID      int    `json:"pid"`
	Restarts int    `json:"restarts"`
	Error    string `json:"error"`
	Status   string `json:"status"`
}

// service runs the command of that name.
func (s system) service(args ...string) (string, error) {
	return s.run(append([]string{"/usr/bin/service"}, args...)...)
}

// list is nil while the supervisor does not answer.
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

// prepare makes what can be filled small, and bundles writable.
func (s system) prepare(t *testing.T) {
	t.Helper()
	_, err := s.sh(`busybox mount -o remount,size=16m,nr_inodes=3000 /run && busybox mount -o remount,size=64m /var &&
		busybox mount -o remount,bind,rw /`)
	if err != nil {
		t.Fatal(fmt.Errorf("cannot prepare the system: %w", err))
	}
}
