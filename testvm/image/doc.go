// Package image builds bootable images from LinuxKit's YAML: it fetches the
// images a file names, lays out the root with a bundle for each container, and
// writes the result in the formats asked for. Kernel, initrd and kernel command
// line are as the linuxkit CLI writes them.
//
// It does not build container images from sources. Its subpackages do the parts:
// config reads the YAML, source, debian and kernel fetch, ocispec makes the files of
// bundles, tree holds the root and writes it, fsimage and disk make file systems and
// disks.
//
// Sources: LinuxKit's docs/yaml.md and what its CLI makes of testdata;
// the kernel's Documentation/filesystems/ramfs-rootfs-initramfs.rst.
//
// The same input gives the same bytes: nothing in the result depends on the
// time, the place or the user. Errors about the file are *config.Error.
package image
