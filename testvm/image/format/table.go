package format

// every is all architectures.
var every = []string{AMD64, ARM64}

// Table is all formats.
var Table = []Format{
	{
		Name: KernelInitrd, Archs: every, Start: ByKernel,
		About: "kernel, initrd and command line for a loader that takes them: QEMU, PXE, cloud hypervisors",
		Files: []string{"-initrd.img", "-kernel", "-cmdline"},
		boots: []boot{
			{arch: AMD64, machine: Q35, often: true}, {arch: AMD64, machine: MicroVM, often: true},
			{arch: ARM64, machine: Virt, often: true},
		},
	},
	{
		Name: KernelSquashfs, Aliases: []string{"squashfs"}, Archs: every, Start: ByRoot, Root: "squashfs", Kernel: true,
		About: "kernel and a squashfs root for a disk or partition: takes less memory, as only what is used is read",
		Files: []string{"-squashfs.img", "-squashfs-initrd.img", "-kernel", "-cmdline"},
		tools: []Tool{{"mksquashfs", "squashfs-tools"}, {"fakeroot", "fakeroot"}},
		boots: []boot{
			{arch: AMD64, machine: Q35, bus: Virtio, often: true}, {arch: AMD64, machine: Q35, bus: NVMe}, {arch: AMD64, machine: Q35, bus: SATA},
			{arch: ARM64, machine: Virt, bus: Virtio},
		},
	},
	{
		Name: KernelErofs, Aliases: []string{"erofs"}, Archs: every, Start: ByRoot, Root: "erofs", Kernel: true,
		About: "the same with an erofs root: larger, and quicker to read",
		Files: []string{"-erofs.img", "-erofs-initrd.img", "-kernel", "-cmdline"},
		tools: []Tool{{"mkfs.erofs", "erofs-utils"}, {"fakeroot", "fakeroot"}, {"tar", "tar"}},
		boots: []boot{
			{arch: AMD64, machine: Q35, bus: Virtio}, {arch: AMD64, machine: MicroVM, bus: Virtio},
			{arch: ARM64, machine: Virt, bus: NVMe, often: true},
		},
	},
	{
		Name: Tar, Archs: every, About: "the whole root as a tar archive, with kernel and command line in /boot",
		Files: []string{".tar"},
	},
	{
		Name: OCI, Archs: every,
		About: "the whole system as an OCI image, an OCI layout in a tar archive: for a privileged container or userspace mode",
		Files: []string{"-oci.tar"},
	},
}
