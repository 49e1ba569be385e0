package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"errors"
	"fmt"
	"path"

	"github.com/google/uuid"

	"keelson/runtime/depmod"
	"keelson/testvm/image/format"
	"keelson/testvm/image/fsimage"
	"keelson/testvm/image/modules"
	"keelson/testvm/image/tree"
)

// makeDiskRoot makes the kernel, the root file system, and a small initrd that mounts
// it.
func makeDiskRoot(ctx context.Context, m *maker, f format.Format) error {
	small, err := initrdFor(m.root, f.Root)
	if err != nil {
		return err
	}
	task := m.Progress.Start("making a root file system of type " + f.Root)
	err = fsimage.Root{Tree: m.root, Time: m.ModTime, ID: m.id(f.Root)}.Make(ctx, f.Root, m.path(f.Files[0]))
	task.Done(err)
	if err != nil {
		return err
	}
	_, kernelErr := m.kernelFile()
	_, cmdlineErr := m.cmdlineFile()
	m.addOutput(f.Files...)
	return errors.Join(m.writeInitrd(m.path(f.Files[1]), small, m.ucode()), kernelErr, cmdlineErr)
}

// id returns an identifier that depends on the content of the image and on purpose.
func (m *maker) id(purpose string) uuid.UUID {
	if m.digest == nil {
		h := sha256.New()
		_ = tree.WriteCPIO(h, m.root.Entries(), m.ModTime, nil) // A hash never fails.
		if m.kernel != nil {
			h.Write(m.kernel.Image)
		}
		h.Write([]byte(m.cmdline()))
		m.digest = h.Sum(nil)
	}
	return uuid.NewSHA1(uuid.NameSpaceOID, append(m.digest, purpose...))
}

// diskModules are the modules that the kernel may need to reach a root on a disk, in
// addition to the file system.
var diskModules = []string{
	"virtio_pci", "virtio_mmio", "virtio_blk", "virtio_scsi", "nvme", "ahci", "ata_piix", "sd_mod", "sr_mod", "cdrom",
	"xhci_pci", "ehci_pci", "usb_storage", "uas", "mmc_block", "sdhci_pci", "sdhci_acpi", "sdhci_iproc", "bcm2835",
	"loop", "overlay",
}

// initrdMarker marks an initramfs that only mounts a root elsewhere. The name is
// systemd's (initrd-release, os-release(5)).
const initrdMarker = "etc/initrd-release"

// usermodeHelper is the program that a kernel with CONFIG_STATIC_USERMODEHELPER starts
// to load a module.
const usermodeHelper = "sbin/usermode-helper"

// initrdFor returns an initramfs with keelson's /init and the modules needed to mount a
// root of type fstype.
func initrdFor(root *tree.Tree, fstype string) (*tree.Tree, error) {
	init, err := root.Resolve("init")
	if err != nil {
		return nil, err
	}
	e, ok := root.Get(init)
	if !ok || e.Type != tree.File {
		return nil, errors.New("the root has no /init")
	}
	if info, err := buildinfo.Read(bytes.NewReader(e.Data)); err != nil || info.Path != "keelson/init" {
		return nil, errors.New("the root's /init is not keelson's: only keelson's init finds a root on a disk")
	}
	small := tree.New()
	e.Path = "init"
	small.Set(e)
	for _, dir := range []string{"dev", "etc", "proc", "run", "sys", "sysroot", "tmp", "var"} {
		small.MkdirAll(dir, 0o755, 0, 0)
	}
	small.Set(tree.Entry{Path: usermodeHelper, Type: tree.Symlink, Mode: 0o777, Link: "../init"})
	small.Set(tree.Entry{Path: initrdMarker, Type: tree.File, Mode: 0o644, Data: []byte("NAME=keelson\nID=keelson\n")})
	return small, addModules(small, root, append([]string{fstype}, diskModules...))
}

// addModules copies modules with all they need from one tree to another, with the
// tables of depmod; modules.dep is reduced to these modules.
func addModules(to, from *tree.Tree, names []string) error {
	for _, e := range from.Entries() {
		dir := path.Dir(e.Path)
		if path.Base(e.Path) != "modules.dep" || path.Base(path.Dir(dir)) != "modules" {
			continue
		}
		text := func(name string) string {
			e, _ := from.Get(path.Join(dir, "modules."+name))
			return string(e.Data)
		}
		files, err := modules.Closure(modules.Tables{Dep: string(e.Data), Softdep: text("softdep"),
			Alias: text("alias"), Builtin: text("builtin")}, names, false)
		if err != nil {
			return err
		}
		for _, f := range append(files, "modules.alias", "modules.softdep", "modules.builtin") {
			if e, ok := from.Get(path.Join(dir, f)); ok {
				to.Set(e)
			}
		}
		if e.Data, err = reduceDep(e.Data, files); err != nil {
			return err
		}
		to.Set(e)
	}
	return nil
}

// reduceDep returns modules.dep with the lines of files only.
func reduceDep(dep []byte, files []string) ([]byte, error) {
	all, err := depmod.ParseDep(bytes.NewReader(dep))
	var reduced []byte
	for _, f := range files {
		if m := all[depmod.Name(f)]; m.Path == f {
			reduced = fmt.Appendln(reduced, m)
		}
	}
	return reduced, err
}
