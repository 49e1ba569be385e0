// Package kernel reads a kernel and its modules from a Debian package, an image laid out
// like LinuxKit's kernels, or a file.
//
// It builds no kernels. Sources: LinuxKit's docs/yaml.md, section kernel; depmod(8); the
// kernel's Documentation/x86/microcode.rst for the archive that precedes the initrd.
package kernel
