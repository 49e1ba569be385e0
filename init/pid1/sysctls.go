package pid1

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// sharedLimits are limits that the kernel counts per user, or for all, and that
// every container that runs as root shares with keelson. A container that used
// one up would keep services from starting, or from being watched. What is
// raised is memory that the kernel counts for the cgroup of the user, so that
// memory limits hold it instead; keys are not counted, and stay bounded.
// Sources: admin-guide/sysctl/{fs,kernel,user}.rst, security/keys/core.rst.
var sharedLimits = []struct{ path, value string }{
	{"fs/inotify/max_user_instances", "2147483647"},      // 128; each shim has one
	{"fs/inotify/max_user_watches", "2147483647"},        // by memory
	{"fs/epoll/max_user_watches", "9223372036854775807"}, // by memory; each socket of a Go program is one
	{"kernel/pid_max", "4194304"},                        // 32768 on up to 32 processors
	{"kernel/pty/max", "1048576"},                        // 4096
	{"kernel/keys/maxkeys", "2000"},                      // 200, for root of user namespaces: runc adds one for each container
	{"kernel/keys/maxbytes", "2000000"},                  // 20000
	{"user/max_cgroup_namespaces", "2147483647"},         // all by memory
	{"user/max_ipc_namespaces", "2147483647"},
	{"user/max_mnt_namespaces", "2147483647"},
	{"user/max_net_namespaces", "2147483647"},
	{"user/max_pid_namespaces", "2147483647"},
	{"user/max_user_namespaces", "2147483647"},
	{"user/max_uts_namespaces", "2147483647"},
}

// raiseSharedLimits writes them below dir, /proc/sys. Those that the kernel was
// built without, or has a lower maximum for, are left out.
func raiseSharedLimits(dir string) error {
	var errs []error
	for _, l := range sharedLimits {
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
