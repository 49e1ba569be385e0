package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/nstest"
	"keelson/testvm/image"
	"keelson/testvm/tier"
)

// yaml is the system. redis is the service that no fault is aimed at.
const yaml = `
init: [keelson]
services:
  - name: redis
    image: deb:redis-server
    command: ["/usr/bin/redis-server", "--bind", "127.0.0.1", "--dir", "/data", "--appendonly", "yes", "--appendfsync", "always", "--save", ""]
    net: host
    binds: ["/var/lib/redis:/data"]
    runtime:
      mounts: # Redis ends when it cannot write.
        - {type: tmpfs, source: tmpfs, destination: /var/lib/redis, options: [size=64m]}
    annotations:
      keelson.ready: tcp:6379
  - name: count
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-c", "trap 'exit 0' TERM; read up rest < /proc/uptime; i=0; while :; do echo $up $i; i=$((i+1)); busybox usleep 10000; done"]
    annotations:
      keelson.restart: always
      keelson.log.size: 64MiB
  - name: sidecar
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-c", "trap 'exit 0' TERM; busybox sleep 100000 & wait"]
    annotations:
      keelson.restart: always
  - name: web
    image: deb:busybox-static
    command: ["/bin/busybox", "httpd", "-f", "-p", "127.0.0.1:8080"]
    net: host
    annotations:
      keelson.restart: always
      keelson.after: sidecar
      keelson.ready: tcp:8080
      keelson.health: tcp:8080
      keelson.health.interval: 500ms
  - name: rude
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-c", "trap '' TERM; while :; do busybox sleep 1; done"]
    annotations:
      keelson.restart: always
      keelson.requires: web
      keelson.stop.timeout: 50ms
`

// services are those that faults are aimed at.
var services = []string{"count", "sidecar", "web", "rude"}

// system is the booted one, as seen from outside.
type system struct {
	*nstest.System
	tree string // its root before anything is mounted
	pid  int    // of /init
}

// boot builds the image and boots its root.
func boot(t *testing.T) *system {
	t.Helper()
	tier.Root(t)
	tier.Tool(t, "cpio", "cpio")
	tier.Tool(t, "nsenter", "util-linux")
	dir := t.TempDir()
	out, err := image.Build(t.Context(), image.Options{
		YAML: []byte(yaml), File: filepath.Join(dir, "chaos.yml"), OutDir: dir, GuestRoot: nstest.GuestRoot(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	tree := filepath.Join(dir, "root")
	if err := unpack(out.Initrd, tree); err != nil {
		t.Fatal(err)
	}
	s := &system{System: nstest.Boot(t, tree, nstest.Options{Limit: 24 * time.Hour}), tree: tree}
	s.pid = s.PID()
	s.Stage("ready")
	// So small that they can be filled.
	for dir, size := range map[string]string{"/run": "32m", "/var": "256m"} {
		if err := s.inside("mount", "-o", "remount,size="+size, dir); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// unpack makes the tree of an initrd.
func unpack(initrd, dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	cmd := exec.Command("sh", "-c", `zstd -dc "$0" | cpio -idm --quiet`, initrd)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot unpack %s: %w: %s", initrd, err, out)
	}
	return nil
}

// inside runs an applet of the system's busybox where /init is.
func (s *system) inside(args ...string) error {
	cmd := exec.Command("nsenter", append([]string{
		"-t", strconv.Itoa(s.pid), "-m", "-p", "-r", "-w", "--", "/containers/services/count/rootfs/bin/busybox",
	}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w: %s", args, err, out)
	}
	return nil
}

// process is one of the system's.
type process struct {
	pid, parent int
	args        []string // none: a zombie
}

// processes are all below /init.
func (s *system) processes() []process {
	all := map[int]process{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue
		}
		f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		cmdline, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		p := process{pid: pid}
		if len(f) > 1 {
			p.parent, _ = strconv.Atoi(f[1])
		}
		if text := strings.TrimRight(string(cmdline), "\x00"); text != "" {
			p.args = strings.Split(text, "\x00")
		}
		all[pid] = p
	}
	var below []process
	for _, p := range all {
		for at := p; at.parent > 0; at = all[at.parent] {
			if at.parent == s.pid {
				below = append(below, p)
				break
			}
		}
	}
	return below
}

// named are the processes of a program with these words in their arguments.
func (s *system) named(program string, words ...string) (pids []int) {
	for _, p := range s.processes() {
		if len(p.args) == 0 || filepath.Base(p.args[0]) != program {
			continue
		}
		if strings.Contains("\x00"+strings.Join(p.args, "\x00")+"\x00", strings.Join(append([]string{""}, append(words, "")...), "\x00")) {
			pids = append(pids, p.pid)
		}
	}
	return pids
}

func (s *system) supervisor() []int { return s.named("service", "supervise") }
func (s *system) containerd() []int { return s.named("containerd") }
func (s *system) shim(name string) []int {
	return s.named("containerd-shim-runc-v2", "-id", name)
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
func (s *system) service(args ...string) ([]byte, error) {
	cmd := exec.Command("/usr/bin/service", args...)
	cmd.Dir = "/"
	cmd.SysProcAttr = chrootTo(s.Root)
	return cmd.Output()
}

// list is nil while the supervisor does not answer.
func (s *system) list() map[string]state {
	out, _ := s.service("list", "--json")
	var all []state
	if json.Unmarshal(out, &all) != nil {
		return nil
	}
	states := map[string]state{}
	for _, v := range all {
		states[v.Name] = v
	}
	return states
}

// dial connects from the system's network namespace, on a thread that does not
// come back from there.
func (s *system) dial(port int) (net.Conn, error) {
	type answer struct {
		conn net.Conn
		err  error
	}
	done := make(chan answer)
	go func() {
		runtime.LockOSThread()
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", s.pid))
		if err == nil {
			defer ns.Close()
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		}
		var conn net.Conn
		if err == nil {
			conn, err = net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), 10*time.Second)
		}
		done <- answer{conn, err}
	}()
	a := <-done
	return a.conn, a.err
}
