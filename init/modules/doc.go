// Package modules loads kernel modules: those whose aliases match the devices of the
// machine, those that keelson needs, and those that the kernel requests. It reads the
// tables of depmod(8) (runtime/depmod); the kernel links modules.
//
// It unloads no module. Modules that the kernel cannot decompress are decompressed by
// another program (runtime/unpack).
//
// Names are normalised as in runtime/depmod. The error of a module that cannot be loaded
// unwraps to the errno. A kernel without modules is not an error.
//
// Sources: finit_module(2), modules.dep(5), depmod.d(5), modprobe.d(5),
// fnmatch(3); the kernel's Documentation/ABI/testing/sysfs-module and, for
// the call of the user-space helper, kernel/module/kmod.c.
package modules
