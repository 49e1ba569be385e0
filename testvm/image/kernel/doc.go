// Package kernel gets a kernel and its modules from a Debian package, an image
// laid out as LinuxKit's kernels are, or a file.
//
// It is not for building kernels. Sources: LinuxKit's docs/yaml.md, section
// kernel; depmod(8); the kernel's Documentation/x86/microcode.rst for the
// archive that goes before the initrd.
package kernel
