// Package modules loads kernel modules: those whose aliases fit the devices of
// the machine, those the system itself needs, and those the kernel asks for.
// It reads what depmod(8) wrote and leaves linking to the kernel.
//
// It is no module manager: it unloads nothing. What the kernel cannot decompress,
// another program does (runtime/unpack).
//
// Names are normalised: "-" is "_", and neither path nor suffix belongs to
// them. A module that cannot be loaded is an error that unwraps to the errno;
// that a kernel has no modules at all is none.
//
// Sources: finit_module(2), modules.dep(5), depmod.d(5), modprobe.d(5),
// fnmatch(3); the kernel's Documentation/ABI/testing/sysfs-module and, for
// the call of the user-space helper, kernel/module/kmod.c.
package modules
