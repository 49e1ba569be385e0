// Package helper is the program that a kernel built with
// CONFIG_STATIC_USERMODEHELPER starts in place of any other: LinuxKit's kernels
// have CONFIG_STATIC_USERMODEHELPER_PATH="/sbin/usermode-helper", which is a link
// to /init. The first argument is the program that the kernel requests:
//
//	/sbin/modprobe -q -- ALIAS        a module is needed (kernel/module/kmod.c)
//	/sbin/request-key create …        a key is needed (security/keys/request_key.c)
//	PROGRAM ARGUMENTS…                a core is dumped to a program by core_pattern (fs/coredump.c)
//	/sbin/poweroff, /sbin/reboot, …   others
//
// It executes that program, with the kernel's arguments, environment, limits and
// file descriptors: a core dump is on standard input. When the image has no modprobe, it
// loads the module itself. LinuxKit's helper refuses all but modprobe, mdev, poweroff and
// reboot; here the programs in the image decide, since only root can choose what the
// kernel starts.
//
// Sources: the kernel's security/Kconfig (STATIC_USERMODEHELPER) and
// kernel/umh.c; getauxval(3), AT_EXECFN; core(5).
package helper

import (
	"fmt"
	"os"
	"path"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"keelson/init/modules"
	"keelson/runtime/paths"
)

// Path is the program that the kernel starts.
const Path = "/sbin/usermode-helper"

const (
	selfPath = "/init"
	// missingDir contains a file for each missing program that has been reported.
	missingDir = paths.State + "/missing"
	atExecFn   = 31 // AT_EXECFN of linux/auxvec.h
)

// Called reports whether this process was executed as Path.
func Called() bool { return execName() == Path }

// execName returns the path that was passed to execve(2), "" if unknown. It is not among
// the arguments.
func execName() string {
	vector, _ := unix.Auxv() // It fails where the runtime has none.
	for i := range vector {
		if vector[i][0] == atExecFn && vector[i][1] != 0 {
			return unix.BytePtrToString(*(**byte)(unsafe.Pointer(&vector[i][1])))
		}
	}
	return ""
}

// Run serves a request of the kernel: it executes args[0] or, when that is a modprobe
// that the image does not have, loads the module. On success it may not return.
func Run(args []string) error {
	if len(args) == 0 || !path.IsAbs(args[0]) {
		return fmt.Errorf("cannot serve the kernel: its arguments %q do not begin with a program", args)
	}
	if !self(args[0]) {
		err := syscall.Exec(args[0], args, os.Environ())
		if _, asked := modules.RequestedAlias(args); !asked || err != unix.ENOENT {
			return report(fmt.Errorf("cannot run %s, which the kernel asks for: %w", args[0], err), args[0])
		}
	}
	if alias, ok := modules.RequestedAlias(args); ok {
		return modules.LoadRequested(alias)
	}
	return report(fmt.Errorf("cannot serve the kernel: it asks for %s with arguments %q", args[0], args[1:]), args[0])
}

// self reports whether a path is this program, which must not execute itself:
// under another name it would be another role.
func self(name string) bool {
	a, err := os.Stat(name)
	if err != nil {
		return name == selfPath
	}
	b, err := os.Stat(selfPath)
	return err != nil || os.SameFile(a, b)
}

// report writes an error to the kernel log, since the kernel gives its helpers no
// console. It does so once for each program: any user can have the kernel ask for
// /sbin/request-key as often as it likes (request_key(2)).
func report(err error, program string) error {
	if os.MkdirAll(missingDir, 0o755) != nil {
		return err
	}
	mark, markErr := os.OpenFile(path.Join(missingDir, strings.ReplaceAll(program, "/", "-")), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if markErr != nil {
		return err // It has been reported.
	}
	defer mark.Close()
	// <28>: a daemon's warning.
	if log, logErr := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0); logErr == nil {
		_, _ = log.WriteString("<28>keelson: " + err.Error() + "; put it into the image, or turn off what needs it\n")
		log.Close()
	}
	return err
}
