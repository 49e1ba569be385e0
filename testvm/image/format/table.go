package format

// Programs of the building machine that several formats need.
var (
	fatTools = []Tool{{"mkfs.fat", "dosfstools"}, {"mcopy", "mtools"}}
	efiTools = append([]Tool{{"ARCH-objcopy", "binutils-ARCH"}}, fatTools...)
)

// with appends to a copy of a list of tools.
func with(tools []Tool, more ...Tool) []Tool { return append(tools[:len(tools):len(tools)], more...) }

// efi are the architectures with UEFI, every is all.
var (
	efi   = []string{AMD64, ARM64}
	every = append(efi[:2:2], RISCV, S390X)
)

// Table holds all formats.
var Table = []Format{
	{
		Name: KernelInitrd, Archs: every, Start: ByKernel,
		About: "kernel, initrd and command line for a loader that takes them: QEMU, PXE, cloud hypervisors",
		Files: []string{"-initrd.img", "-kernel", "-cmdline"},
		boots: []boot{
			{arch: AMD64, machine: Q35}, {arch: AMD64, machine: MicroVM, often: true},
			{arch: ARM64, machine: Virt},
			{arch: RISCV, machine: RISCVirt}, {arch: S390X, machine: S390CCW},
		},
	},
	{
		Name: KernelSquashfs, Aliases: []string{"squashfs"}, Archs: every, Start: ByRoot, Root: "squashfs", Kernel: true,
		About: "kernel and a squashfs root for a disk or partition: takes less memory, as only what is used is read",
		Files: []string{"-squashfs.img", "-squashfs-initrd.img", "-kernel", "-cmdline"},
		tools: []Tool{{"mksquashfs", "squashfs-tools"}, {"fakeroot", "fakeroot"}},
		boots: []boot{
			{arch: AMD64, machine: Q35, bus: Virtio, often: true}, {arch: AMD64, machine: Q35, bus: NVMe},
			{arch: AMD64, machine: Q35, bus: SATA}, {arch: AMD64, machine: Q35, bus: USB}, {arch: AMD64, machine: Q35, bus: SD},
			{arch: ARM64, machine: Virt, bus: Virtio},
			{arch: RISCV, machine: RISCVirt, bus: Virtio}, {arch: S390X, machine: S390CCW, bus: Virtio},
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
			{arch: RISCV, machine: RISCVirt, bus: Virtio}, {arch: S390X, machine: S390CCW, bus: Virtio},
		},
	},
	{
		Name: MicroVMs, Archs: []string{AMD64}, Start: ByRoot, Root: "erofs", Machine: MicroVM, Kernel: true,
		About: "an uncompressed kernel and an erofs root, for hypervisors that start a kernel without firmware: QEMU's microvm, Firecracker, Cloud Hypervisor",
		Files: []string{"-microvm.img", "-microvm-initrd.img", "-microvm-kernel", "-microvm-cmdline"},
		tools: []Tool{{"mkfs.erofs", "erofs-utils"}, {"fakeroot", "fakeroot"}, {"tar", "tar"}, {"xz", "xz-utils"}},
		boots: []boot{{arch: AMD64, machine: MicroVM, bus: Virtio, often: true}, {arch: AMD64, machine: Q35, bus: Virtio}},
	},
	{
		Name: ISOEFI, Archs: efi, Start: ByUEFI, Kernel: true,
		About: "a disc for CD drives and for consoles of servers that lend one, or a USB stick",
		Files: []string{"-efi.iso"}, tools: with(efiTools, Tool{"xorriso", "xorriso"}),
		boots: []boot{
			{arch: AMD64, machine: Q35, bus: CDROM, often: true}, {arch: AMD64, machine: Q35, bus: USB},
			{arch: ARM64, machine: Virt, bus: CDROM}, {arch: ARM64, machine: Virt, bus: USB},
		},
	},
	{
		Name: RawEFI, Archs: efi, Start: ByUEFI, Kernel: true, Sized: true,
		About: "a disk for PCs and servers: GPT, an EFI system partition with the system as a unified kernel image",
		Files: []string{"-efi.img"}, tools: efiTools,
		boots: []boot{
			{arch: AMD64, machine: Q35, bus: Virtio}, {arch: AMD64, machine: Q35, bus: NVMe},
			{arch: AMD64, machine: Q35, bus: SATA}, {arch: AMD64, machine: Q35, bus: USB},
			{arch: ARM64, machine: Virt, bus: Virtio, often: true}, {arch: ARM64, machine: Virt, bus: NVMe},
			{arch: ARM64, machine: Virt, bus: USB},
		},
	},
	{
		Name: Qcow2EFI, Archs: efi, Start: ByUEFI, Kernel: true, Sized: true,
		About: "the same disk for QEMU and clouds",
		Files: []string{"-efi.qcow2"}, tools: with(efiTools, Tool{"qemu-img", "qemu-utils"}),
		boots: []boot{{arch: AMD64, machine: Q35, bus: Virtio, often: true}, {arch: ARM64, machine: Virt, bus: Virtio}},
	},
	{
		Name: RawBIOS, Archs: []string{AMD64}, Start: ByBIOS, Kernel: true, Sized: true,
		About: "a disk for PCs without UEFI: MBR, a FAT partition with syslinux, kernel and initrd; made on amd64 only",
		Files: []string{"-bios.img"},
		tools: with(fatTools, Tool{"syslinux", "syslinux"}, Tool{"/usr/lib/syslinux/mbr/mbr.bin", "syslinux-common"}),
		boots: []boot{
			{arch: AMD64, machine: PC, bus: IDE, often: true}, {arch: AMD64, machine: Q35, bus: SATA},
			{arch: AMD64, machine: Q35, bus: Virtio}, {arch: AMD64, machine: Q35, bus: USB},
		},
	},
	{
		Name: RPi, Archs: []string{ARM64}, Start: ByBoard, Kernel: true, Sized: true,
		About: "an SD card for a Raspberry Pi 3 or 4: MBR, a FAT partition with kernel, initrd, device trees and the firmware given, a data partition",
		Files: []string{"-rpi.img"}, tools: with(fatTools, Tool{"mke2fs", "e2fsprogs"}),
		boots: []boot{{arch: ARM64, machine: Raspi3B, bus: SD, often: true}},
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
