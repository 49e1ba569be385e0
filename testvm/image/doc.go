// Package image builds bootable images from LinuxKit's YAML: it fetches the
// images a file names, lays out the root with a bundle for each container, and
// writes kernel, initrd and kernel command line as the linuxkit CLI does.
//
// It is not for building container images, nor for disks. The work is done by
// the packages below: config reads the YAML, source and kernel fetch, ocispec
// makes the bundles' files, tree holds the root and writes it.
//
// Sources: LinuxKit's docs/yaml.md and what its CLI makes of testdata;
// the kernel's Documentation/filesystems/ramfs-rootfs-initramfs.rst.
//
// The same input gives the same bytes: nothing in the result depends on the
// time, the place or the user. Errors about the file are *config.Error.
package image
