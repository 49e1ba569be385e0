// Package qemu starts virtual machines with QEMU: it plans the command line,
// decides on the accelerator, and holds the machine's console, its control
// socket (QMP) and a channel to a program inside the guest.
//
// What happens on the console, and whether the guest did what it should, is
// the business of package vm.
//
// All sockets between this process and QEMU are socket pairs handed over as
// open files, so nothing is left in a file system, and QEMU dies with the
// process that started it (PR_SET_PDEATHSIG).
//
// Sources: qemu-system-x86_64(1) "-chardev socket" (fd=), "-netdev user",
// "-icount", "-action"; QEMU's QMP specification (docs/interop/qmp-spec) and
// QMP reference manual (events SHUTDOWN, commands system_powerdown, quit);
// Linux Documentation/x86/boot.rst (HdrS) and Documentation/arm64/booting.rst
// (image magic).
//
// Memory is given in MiB, disk sizes in bytes. Errors read "cannot …: why".
package qemu
