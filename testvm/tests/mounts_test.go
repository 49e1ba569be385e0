package tests

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"

	"keelson/testvm/vm/vmtest"
)

// promised are the mounts that LinuxKit guarantees to containers: per-mount options,
// type, and options of the file system. "10%" stands for a size of that share of memory;
// 50 % is the default of a tmpfs and not shown. A file system that the kernel does not
// have may be missing.
var promised = []struct{ target, options, fstype, super string }{
	{"/", "ro", "", ""},
	{"/proc", "nosuid,nodev,noexec,relatime", "proc", ""},
	{"/run", "nosuid,nodev,noexec,relatime", "tmpfs", "mode=755 10%"},
	{"/tmp", "nosuid,nodev,noexec,relatime", "tmpfs", "10%"},
	{"/var", "nosuid,nodev,noexec,relatime", "tmpfs", "mode=755 50%"},
	{"/dev", "nosuid,noexec,relatime", "devtmpfs", "mode=755"},
	{"/dev/mqueue", "nosuid,nodev,noexec", "mqueue", ""},
	{"/dev/shm", "nosuid,nodev,noexec", "tmpfs", ""},
	{"/dev/pts", "nosuid,noexec", "devpts", "gid=5 mode=620"},
	{"/sys", "nosuid,nodev,noexec", "sysfs", ""},
	{"/sys/fs/fuse/connections", "nosuid,nodev,noexec", "fusectl", ""},
	{"/sys/fs/selinux", "nosuid,noexec", "selinuxfs", ""},
	{"/sys/firmware/efi/efivars", "nosuid,nodev,noexec", "efivarfs", ""},
	{"/proc/sys/fs/binfmt_misc", "nosuid,nodev,noexec", "binfmt_misc", ""},
	{"/sys/kernel/security", "nosuid,nodev,noexec", "securityfs", ""},
	{"/sys/kernel/debug", "nosuid,nodev,noexec", "debugfs", ""},
	{"/sys/kernel/config", "nosuid,nodev,noexec", "configfs", ""},
	{"/sys/fs/pstore", "nosuid,nodev,noexec", "pstore", ""},
	{"/sys/fs/bpf", "nodev", "bpf", ""},
}

// promisedCgroups are the cgroup mounts of each version. The cloud kernel has these
// controllers.
var promisedCgroups = map[string]map[string]string{
	"v2": {"/sys/fs/cgroup": "cgroup2"},
	"v1": {"/sys/fs/cgroup": "tmpfs", "/sys/fs/cgroup/memory": "cgroup", "/sys/fs/cgroup/pids": "cgroup",
		"/sys/fs/cgroup/cpu": "cgroup", "/sys/fs/cgroup/devices": "cgroup", "/sys/fs/cgroup/freezer": "cgroup", "/sys/fs/cgroup/systemd": "cgroup"},
}

func checkMounts(t *testing.T, v *vmtest.VM, cgroups string) {
	infos, err := mountinfo.GetMountsFromReader(strings.NewReader(v.File("/proc/1/mountinfo")), nil)
	if err != nil {
		t.Fatal(err)
	}
	top := map[string]*mountinfo.Info{}
	for _, m := range infos {
		top[m.Mountpoint] = m
	}
	memory := memoryTotal(t, v.File("/proc/meminfo"))
	known := v.File("/proc/filesystems")
	for _, want := range promised {
		m := top[want.target]
		switch {
		case m == nil && (want.fstype == "efivarfs" || !strings.Contains(known, "\t"+want.fstype+"\n")):
			continue // efivarfs needs UEFI, which this machine does not have.
		case m == nil:
			t.Errorf("%s is not mounted", want.target)
			continue
		case want.fstype != "" && m.FSType != want.fstype:
			t.Errorf("%s has type %s, want %s", want.target, m.FSType, want.fstype)
		case !strings.Contains(m.Options, want.options):
			t.Errorf("%s has options %s, want %s", want.target, m.Options, want.options)
		case !strings.Contains(m.Optional, "shared:"):
			t.Errorf("the propagation of %s is not shared", want.target)
		}
		for _, word := range strings.Fields(want.super) {
			if !hasOption(m.VFSOptions, word, memory) {
				t.Errorf("%s does not have option %s of %d bytes: %s", want.target, word, memory, m.VFSOptions)
			}
		}
	}
	for target, fstype := range promisedCgroups[cgroups] {
		if m := top[target]; m == nil || m.FSType != fstype {
			t.Errorf("%s: %+v, want %s", target, m, fstype)
		}
	}
	checkPaths(t, v)
}

func hasOption(options, want string, memory int64) bool {
	percent, isSize := strings.CutSuffix(want, "%")
	if percent == "50" && !strings.Contains(options, "size=") {
		return true // The default is not shown, unless the kernel has freed memory since.
	}
	for _, o := range strings.Split(options, ",") {
		if o == want {
			return true
		}
		size, ok := strings.CutPrefix(o, "size=")
		if !ok || !isSize {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(size, "k"), 10, 64)
		n, err2 := strconv.ParseInt(percent, 10, 64)
		if err == nil && err2 == nil {
			off := kib<<10 - memory*n/100
			return max(off, -off) < 1<<20 // the kernel rounds to pages of RAM
		}
	}
	return false
}

var memTotalLine = regexp.MustCompile(`MemTotal: +(\d+) kB`)

func memoryTotal(t *testing.T, meminfo string) int64 {
	t.Helper()
	m := memTotalLine.FindStringSubmatch(meminfo)
	if m == nil {
		t.Fatalf("meminfo: %q", meminfo)
	}
	kib, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// promisedPaths are files and folders with their type and mode, or the target of a link.
// The kernel sets the modes of device nodes.
var promisedPaths = map[string]string{
	"/var/cache": "drwxr-xr-x", "/var/empty": "dr-xr-xr-x", "/var/lib": "drwxr-xr-x", "/var/local": "drwxr-xr-x",
	"/var/lock": "drwxr-xr-x", "/var/log": "drwxr-xr-x", "/var/opt": "drwxr-xr-x", "/var/spool": "drwxr-xr-x",
	"/var/tmp": "drwxrwxrwt", "/var/run": "-> /run", "/tmp": "drwxrwxrwt", "/dev/shm": "drwxrwxrwt",
	"/dev/console": "c", "/dev/tty1": "c", "/dev/tty": "c", "/dev/null": "c", "/dev/kmsg": "c",
	"/dev/fd": "-> /proc/self/fd", "/dev/stdin": "-> /proc/self/fd/0", "/dev/stdout": "-> /proc/self/fd/1",
	"/dev/stderr": "-> /proc/self/fd/2", "/dev/kcore": "-> /proc/kcore",
}

func checkPaths(t *testing.T, v *vmtest.VM) {
	args := []string{"/usr/bin/busybox", "ls", "-ld"}
	for path := range promisedPaths {
		args = append(args, path)
	}
	listed := map[string]string{}
	for line := range strings.Lines(v.Output(args...)) {
		f := strings.Fields(line)
		for path := range promisedPaths {
			if !strings.Contains(line, " "+path+"\n") && !strings.Contains(line, " "+path+" -> ") {
				continue
			}
			listed[path] = f[0]
			if _, to, ok := strings.Cut(strings.TrimSpace(line), " -> "); ok {
				listed[path] = "-> " + to
			}
		}
	}
	for path, want := range promisedPaths {
		if got := listed[path]; got != want && !(want == "c" && strings.HasPrefix(got, "c")) {
			t.Errorf("%s is %q, want %q", path, listed[path], want)
		}
	}
}
