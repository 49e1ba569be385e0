// Command child is the child of staging.Stage in tests. As `child probe PORT PID` it does
// not read an artifact but tries to leave its confinement: config.json then holds what it
// got for each attempt. `child filtered PORT PID` does the same with the filter of system
// calls. As `child wait` it waits for ever. As `child link` it leaves a
// link in the place of config.json.
package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"keelson/runtime/artifact"
	"keelson/runtime/staging"
)

func init() { runtime.LockOSThread() } // main runs on the first thread

func main() {
	if len(os.Args) < 2 || !strings.Contains(os.Getenv("KEELSON_STAGING"), `"Confined":true`) {
		os.Exit(staging.Main(os.Stdin, os.Stdout))
	}
	switch os.Args[1] {
	case "filtered":
		if err := staging.FilterCalls(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fallthrough
	case "probe":
		report, _ := json.Marshal(probe(os.Args[2], os.Args[3]))
		finish(func() error { return os.WriteFile("/config.json", report, 0o600) })
	case "link":
		finish(func() error { return os.Symlink("/etc/shadow", "/config.json") })
	case "wait":
		fmt.Fprintln(os.Stderr, "waiting")
		select {}
	default:
		os.Exit(staging.Main(os.Stdin, os.Stdout))
	}
}

// finish makes the files of an artifact, and prints its description.
func finish(config func() error) {
	meta := artifact.Meta{Digest: "sha256:" + strings.Repeat("0", 64), Name: "web", Architecture: "amd64"}
	for _, err := range []error{
		config(), os.WriteFile("/runtime.json", nil, 0o600), os.WriteFile("/artifact.json", nil, 0o600), os.Mkdir("/rootfs", 0o755),
	} {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	_ = json.NewEncoder(os.Stdout).Encode(map[string]any{"meta": meta})
}

func probe(port, pid string) map[string]string {
	got := map[string]string{}
	for name, attempt := range map[string]func() error{
		"open /etc/passwd":       func() error { return open("/etc/passwd") },
		"open ../../etc/passwd":  func() error { return open("../../../../etc/passwd") },
		"open /proc/self/status": func() error { return open("/proc/self/status") },
		"make a device":          func() error { return unix.Mknod("/device", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))) },
		"make a FIFO":            func() error { return unix.Mknod("/fifo", unix.S_IFIFO|0o600, 0) },
		"make a socket":          func() error { _, err := net.Listen("unix", "/socket"); return err },
		"connect to loopback":    func() error { _, err := net.Dial("tcp", "127.0.0.1:"+port); return err },
		"signal the parent":      func() error { n, _ := strconv.Atoi(pid); return unix.Kill(n, 0) },
		"mount":                  func() error { return unix.Mount("tmpfs", "/", "tmpfs", 0, "") },
		"make a user namespace":  func() error { return launch(unix.CLONE_NEWUSER) },
		"make a net namespace":   func() error { return launch(unix.CLONE_NEWNET) },
		"execute a new program":  execute,
		"gain a capability":      func() error { return gain(unix.CAP_SYS_ADMIN) },
		"raise a limit":          func() error { return unix.Prlimit(0, unix.RLIMIT_CORE, &unix.Rlimit{Cur: 1, Max: 1}, nil) },
		"give a file away":       give,
		"start a thread":         func() error { return thread() },
		"open a socket":          func() error { _, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0); return err },
		"fork":                   fork,
		"clone3":                 func() error { return call(unix.SYS_CLONE3) },
		"bpf":                    func() error { return call(unix.SYS_BPF, ^uintptr(0)) },
		"io_uring":               func() error { return call(unix.SYS_IO_URING_SETUP) },
		"user faults":            func() error { return call(unix.SYS_USERFAULTFD, ^uintptr(0)) },
		"a key":                  func() error { return call(unix.SYS_ADD_KEY) },
		"a later call":           func() error { return call(unix.SYS_MSEAL + 100) },
		"another thread's call":  elsewhere,
	} {
		got[name] = "done"
		if err := attempt(); err != nil {
			got[name] = err.Error()
			if errno := syscall.Errno(0); asErrno(err, &errno) {
				got[name] = unix.ErrnoName(errno)
			}
		}
	}
	for c := range unix.CAP_LAST_CAP + 1 {
		if in, _ := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0); in == 1 {
			got["bounding set"] += strconv.Itoa(c) + " "
		}
	}
	entries, _ := os.ReadDir("/")
	for _, e := range entries {
		got["files"] += e.Name() + " "
	}
	got["PID"] = strconv.Itoa(os.Getpid())
	newPrivileges, _ := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	got["no_new_privs"] = strconv.Itoa(newPrivileges)
	var signal int32
	_ = unix.Prctl(unix.PR_GET_PDEATHSIG, pointer(&signal), 0, 0, 0)
	got["parent's end"] = unix.SignalName(syscall.Signal(signal))
	return got
}
