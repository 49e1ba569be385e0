package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"keelson/runtime/cmdline"
)

// sharedLimits are limits that the kernel counts per user or for the whole system: every
// container that runs as root shares them with keelson. A container that exhausts one
// would prevent services from starting or from being watched. The memory behind the
// raised limits is charged to the cgroup that uses it, so memory limits bound it
// instead; keys are not charged and stay bounded. The limit for pages of pipes is not
// raised: these pages do not count when the kernel chooses a process to kill, and
// reaching the limit costs only speed.
// Sources: admin-guide/sysctl/{fs,kernel,user}.rst, security/keys/core.rst.
var sharedLimits = []struct{ path, value string }{
	{"fs/inotify/max_user_instances", "2147483647"},      // 128; each shim has one
	{"fs/inotify/max_user_watches", "2147483647"},        // by memory
	{"fs/epoll/max_user_watches", "9223372036854775807"}, // by memory; each socket of a Go program is one
	{"fs/fanotify/max_user_groups", "2147483647"},        // 128
	{"fs/fanotify/max_user_marks", "2147483647"},         // by memory
	{"fs/file-max", "9223372036854775807"},               // by memory; executing a program needs a file
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

// RaiseSharedLimits raises limits that containers share with keelson, except those
// that the command line sets.
func RaiseSharedLimits(line cmdline.Line) error {
	return errors.Join(raiseSysctls("/proc/sys", line), raiseUserLimits())
}

// raiseSysctls writes sharedLimits below dir. It leaves out limits that the kernel does
// not have, or for which its maximum is lower.
func raiseSysctls(dir string, line cmdline.Line) error {
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

// sysctlsOf returns the files below /proc/sys that the kernel has written for
// parameters "sysctl.NAME=VALUE" (kernel-parameters.txt); "/" may stand for ".".
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

// raiseUserLimits raises the limits of this process for resources that are counted per
// user: pending signals, of which each timer needs one, and message queues. Every process
// inherits them.
func raiseUserLimits() error {
	infinity := syscall.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	err := errors.Join(syscall.Setrlimit(unix.RLIMIT_SIGPENDING, &infinity), syscall.Setrlimit(unix.RLIMIT_MSGQUEUE, &infinity))
	if err != nil {
		return fmt.Errorf("cannot raise limits of signals and message queues: %w", err)
	}
	return nil
}
