//go:build amd64 || arm64 || riscv64 || s390x

package main

// entry is where the kernel starts /init: the Makefile gives it to the linker
// (-E main.entry). In process 1 it disables transparent huge pages, makes sure that
// file descriptor 0 exists, then jumps to the entry point of the Go runtime.
//
// The Go runtime touches the first pages of its heap before any Go code runs. With
// the kernel's default, "always", each of them would be a huge page of 2 MB, which
// stays. PR_SET_THP_DISABLE (prctl(2)) prevents that. Children inherit it: PID 1 resets
// it (kernel.AllowHugePages) once it has limited huge pages for all, before it starts
// containerd and the boot role.
//
// The kernel starts its first process without file descriptors 0 to 2 when no
// driver serves the console that the command line names ("unable to open an
// initial console"). The Go runtime opens /dev/null for missing ones before any
// Go code runs, and ends the program when it cannot (runtime.checkfds), as with
// the empty /dev of an initramfs: a kernel panic. So entry, in assembly:
//
//   - does nothing when file descriptor 0 exists;
//   - opens /dev/null as file descriptor 0; the runtime opens the other two;
//   - in process 1, when that fails, makes /dev and the node /dev/null, then
//     tries again; if the root is read-only or the node does not work, mounts
//     devtmpfs on /dev, then tries again.
//
// It uses no memory except the names below, and does not change the stack.
//
//lint:ignore U1000 The linker uses it.
func entry()

// Names that entry passes to the kernel.
var (
	//lint:ignore U1000 Assembly reads it.
	entryDev = [...]byte{'/', 'd', 'e', 'v', 0}
	//lint:ignore U1000 Assembly reads it.
	entryNull = [...]byte{'/', 'd', 'e', 'v', '/', 'n', 'u', 'l', 'l', 0}
	//lint:ignore U1000 Assembly reads it.
	entryDevtmpfs = [...]byte{'d', 'e', 'v', 't', 'm', 'p', 'f', 's', 0}
)
