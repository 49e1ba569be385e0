package pid1

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"keelson/init/cmdline"
)

// sharedLimits are limits that the kernel counts per user, or for all, and that
// every container that runs as root shares with keelson. A container that used
// one up would keep services from starting, or from being watched. What is
// raised is memory that the kernel counts for the cgroup of the user, so that
// memory limits hold it instead; keys are not counted, and stay bounded.
// Pages of pipes are not in the memory that the kernel looks at when it chooses what
// to kill, and the limit costs speed alone: it stays.
// Sources: admin-guide/sysctl/{fs,kernel,user}.rst, security/keys/core.rst.
var sharedLimits = []struct{ path, value string }{
	{"fs/inotify/max_user_instances", "2147483647"},      // 128; each shim has one
	{"fs/inotify/max_user_watches", "2147483647"},        // by memory
	{"fs/epoll/max_user_watches", "9223372036854775807"}, // by memory; each socket of a Go program is one
	{"fs/fanotify/max_user_groups", "2147483647"},        // 128
	{"fs/fanotify/max_user_marks", "2147483647"},         // by memory
	{"fs/file-max", "9223372036854775807"},               // by memory; to execute a program takes a file
	{"fs/aio-max-nr", "1048576"},                         // 65536
	{"kernel/pid_max", "4194304"},                        // 32768 on up to 32 processors
	{"kernel/threads-max", "1073741823"},                 // by memory: threads of an eighth of it
	{"kernel/pty/max", "1048576"},                        // 4096
	{"kernel/keys/maxkeys", "2000"},                      // 200, for root of user namespaces: runc adds one for each container
	{"kernel/keys/maxbytes", "2000000"},                  // 20000
	{"user/max_cgroup_namespaces", "2147483647"},         // all by memory
	{"user/max_ipc_namespaces", "2147483647"},
	{"user/max_mnt_namespaces", "2147483647"},
	{"user/max_net_namespaces", "2147483647"},
	{"user/max_pid_namespaces", "2147483647"},
	{"user/max_time_namespaces", "2147483647"},
	{"user/max_user_namespaces", "2147483647"},
	{"user/max_uts_namespaces", "2147483647"},
}

// raiseSharedLimits writes them below dir, /proc/sys. Those that the kernel was
// built without, or has a lower maximum for, are left out, and those that the command
// line sets.
func raiseSharedLimits(dir string, line cmdline.Line) error {
	set := sysctlsOf(line)
	var errs []error
	for _, l := range sharedLimits {
		if set[l.path] {
			continue
		}
		f, err := os.OpenFile(filepath.Join(dir, l.path), os.O_WRONLY, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			_, err = f.WriteString(l.value)
			err = errors.Join(err, f.Close())
		}
		if err != nil && !errors.Is(err, unix.EINVAL) { // Some kernels have a lower maximum.
			errs = append(errs, fmt.Errorf("cannot raise the limit %s: %w", l.path, err))
		}
	}
	return errors.Join(errs...)
}

// sysctlsOf are the files below /proc/sys that the kernel has written for parameters
// "sysctl.NAME=VALUE" (kernel-parameters.txt). It takes "/" for "." too.
func sysctlsOf(line cmdline.Line) map[string]bool {
	set := map[string]bool{}
	for _, p := range line {
		name := strings.ReplaceAll(p.Name, ".", "/")
		if path, ok := strings.CutPrefix(name, "sysctl/"); ok && p.Set {
			set[path] = true
		}
	}
	return set
}

// raiseSharedResources are limits of a process to what is counted for its user:
// pending signals, which timers take, and message queues. Every process inherits them.
func raiseSharedResources() error {
	infinity := syscall.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	err := errors.Join(syscall.Setrlimit(unix.RLIMIT_SIGPENDING, &infinity), syscall.Setrlimit(unix.RLIMIT_MSGQUEUE, &infinity))
	if err != nil {
		return fmt.Errorf("cannot raise limits of signals and message queues: %w", err)
	}
	return nil
}

func (p *pid1) raiseShared() error {
	return errors.Join(raiseSharedLimits("/proc/sys", p.line), raiseSharedResources())
}
