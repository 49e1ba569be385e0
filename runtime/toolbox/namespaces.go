package toolbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// kinds are the namespaces that tools share with a container, by their names in /proc/PID/ns.
var kinds = []struct {
	file string
	kind specs.LinuxNamespaceType
}{
	{"user", specs.UserNamespace},
	{"pid", specs.PIDNamespace},
	{"net", specs.NetworkNamespace},
	{"ipc", specs.IPCNamespace},
	{"uts", specs.UTSNamespace},
	{"cgroup", specs.CgroupNamespace},
	{"time", specs.TimeNamespace},
}

// place is where a process runs.
type place struct {
	namespaces []specs.LinuxNamespace // those that are not this process's own
	pid        int                    // of the process in its PID namespace
	// A file system that shows a namespace can only be mounted in the user namespace that owns it
	// (user_namespaces(7)). These report whether that is the one of the process.
	ownsPIDs, ownsNetwork, ownsCgroups bool
}

// placeOf returns where a process runs.
func placeOf(proc string, pid int) (p place, err error) {
	dir := filepath.Join(proc, strconv.Itoa(pid))
	for _, k := range kinds {
		path := filepath.Join(dir, "ns", k.file)
		its, err := os.Readlink(path)
		if errors.Is(err, fs.ErrNotExist) { // The kernel has none of that kind.
			if _, own := os.Readlink(filepath.Join(proc, "self/ns", k.file)); own != nil {
				continue
			}
		}
		if err != nil {
			return p, fmt.Errorf("cannot find out the namespaces of process %d: %w", pid, err)
		}
		own, err := os.Readlink(filepath.Join(proc, "self/ns", k.file))
		if err != nil {
			return p, fmt.Errorf("cannot find out the namespaces of this process: %w", err)
		}
		if its != own {
			p.namespaces = append(p.namespaces, specs.LinuxNamespace{Type: k.kind, Path: path})
		}
	}
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return p, fmt.Errorf("cannot find out the number of process %d in its namespace: %w", pid, err)
	}
	if p.pid, err = innerPID(string(status)); err != nil {
		return p, fmt.Errorf("cannot find out the number of process %d in its namespace: %w", pid, err)
	}
	users := filepath.Join(dir, "ns/user")
	p.ownsPIDs = owns(users, filepath.Join(dir, "ns/pid"))
	p.ownsNetwork = owns(users, filepath.Join(dir, "ns/net"))
	p.ownsCgroups = owns(users, filepath.Join(dir, "ns/cgroup"))
	return p, nil
}

// innerPID returns the number of a process in its own PID namespace: the last one of the line NSpid
// of /proc/PID/status (proc_pid_status(5)).
func innerPID(status string) (int, error) {
	for line := range strings.Lines(status) {
		if numbers, ok := strings.CutPrefix(line, "NSpid:"); ok {
			if f := strings.Fields(numbers); len(f) > 0 {
				return strconv.Atoi(f[len(f)-1])
			}
		}
	}
	return 0, errors.New("/proc/PID/status has no NSpid")
}

// owns reports whether the user namespace users owns another namespace (ioctl_ns(2)).
func owns(users, namespace string) bool {
	var its, owner unix.Stat_t
	if unix.Stat(users, &its) != nil {
		return false
	}
	f, err := os.Open(namespace)
	if err != nil {
		return false
	}
	defer f.Close()
	fd, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_USERNS)
	if err != nil { // EPERM: that of an ancestor.
		return false
	}
	defer unix.Close(fd)
	return unix.Fstat(fd, &owner) == nil && owner.Ino == its.Ino && owner.Dev == its.Dev
}
