package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"keelson/runtime/paths"
)

// defaultSockets is the folder of the shims' sockets (containerd's
// defaults.DefaultStateDir).
const defaultSockets = paths.ShimSockets

// grouping has the annotations with which several containers share a shim.
var grouping = []string{"io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id"}

// escapes removes the escapes that Go's encoding/json writes for <, >, & and two line
// separators. Any other escape could hide a letter of an annotation.
var escapes = strings.NewReplacer(`\u003c`, "", `\u003e`, "", `\u0026`, "", `\u2028`, "", `\u2029`, "")

// isOrdinary reports whether this program can start the shim. The bundle is the current
// folder.
func isOrdinary(p params) bool {
	if p.extensions || p.level < 0 || os.Getenv("SCHED_CORE") != "" {
		return false
	}
	spec, err := os.ReadFile("config.json")
	return err == nil && hasOwnShim(spec)
}

// hasOwnShim reports whether the container shares its shim with no other.
func hasOwnShim(spec []byte) bool {
	for _, word := range grouping {
		if bytes.Contains(spec, []byte(word)) {
			return false
		}
	}
	return !bytes.Contains(spec, []byte(`\u`)) || !strings.Contains(escapes.Replace(string(spec)), `\u`)
}

// start starts the shim with its socket as file descriptor 3, and returns the result for
// containerd.
func start(self string, p params) (_ []byte, err error) {
	sockets := defaultSockets
	if p.socketDir != "" {
		sockets = p.socketDir
		if err := linkSockets(sockets); err != nil {
			return nil, err
		}
	}
	sum := sha256.Sum256([]byte(filepath.Join(p.address, p.namespace, p.id)))
	path := filepath.Join(sockets, hex.EncodeToString(sum[:]))
	fd, err := listen(path)
	if err != nil {
		return nil, err
	}
	pid, err := spawn(self, p, fd)
	if err == nil {
		if err = adjustOOMScore(pid); err != nil {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
	if err != nil {
		_ = os.Remove(path)
		return nil, err
	}
	return result("unix://" + path), nil
}

// linkSockets makes a link to the folder of sockets in the bundle, where the shim looks
// for it when it ends.
func linkSockets(sockets string) error {
	const name = "s"
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Symlink(sockets, name)
}

// listen makes the shim's socket, to which only root may connect.
func listen(path string) (int, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return -1, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, wrap("cannot make a socket", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return -1, wrap("cannot bind "+path, err)
	}
	err = os.Chmod(path, 0o600)
	if err == nil {
		err = wrap("cannot listen on "+path, unix.Listen(fd, unix.SOMAXCONN))
	}
	if err != nil {
		_ = os.Remove(path)
	}
	return fd, err
}

func inUse(err error) bool { return errors.Is(err, unix.EADDRINUSE) }

// maxProcessors is how many processors the shim uses at most, and the programs of runc that it
// starts. Upstream lets a shim use four, also where there are fewer: Go keeps memory for each
// and creates threads to use them, for a program that hardly ever has work.
const maxProcessors = 2

// spawn starts the shim in the bundle as a new process group. This program ends before it,
// and does not wait for it.
func spawn(self string, p params, socket int) (pid int, err error) {
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, wrap("cannot open "+os.DevNull, err)
	}
	pid, err = syscall.ForkExec(shim,
		[]string{self, "-namespace", p.namespace, "-id", p.id, "-address", p.address},
		&syscall.ProcAttr{
			Env:   append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(min(maxProcessors, runtime.NumCPU())), "OTEL_SERVICE_NAME=containerd-shim-"+p.id),
			Files: []uintptr{uintptr(null), uintptr(null), uintptr(null), uintptr(socket)},
			Sys:   &syscall.SysProcAttr{Setpgid: true},
		})
	return pid, wrap("cannot execute "+shim, err)
}

// adjustOOMScore sets oom_score_adj of a shim to that of containerd plus one, so that the
// kernel kills a shim first if memory is short (proc_pid_oom_score_adj(5)). If that is
// not permitted, as may be in another system, the shim keeps its value.
func adjustOOMScore(pid int) error {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(os.Getppid()) + "/oom_score_adj")
	if err != nil {
		return err
	}
	score, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return err
	}
	err = os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte(strconv.Itoa(min(score+1, 1000))), 0o644)
	if errors.Is(err, os.ErrPermission) {
		return nil
	}
	return err
}
