package image

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"keelson/runtime/depmod"
	"keelson/testvm/image/cache"
	"keelson/testvm/image/format"
	"keelson/testvm/image/fsimage"
	"keelson/testvm/image/kernel"
	"keelson/testvm/image/tree"
)

// makeMicroVM makes an uncompressed kernel, the root as a disk, and the whole command line. It
// makes a small initrd only for a kernel that has drivers of the root as modules. The root is compressed
// only if it is to be as small as possible: unpacking what the boot reads takes longer than all of the
// kernel's start, and the compressed blocks stay in memory beside it.
func makeMicroVM(ctx context.Context, m *maker, f format.Format) error {
	image, err := kernel.Vmlinux(m.kernel.Image)
	if err != nil {
		return m.doc.ErrorAt("kernel.image", fmt.Errorf("cannot be started without decompression: %w", err))
	}
	if !kernel.HasPVH(image) {
		return m.doc.Errorf("kernel.image", "has no PVH entry point, by which hypervisors start vmlinux (CONFIG_PVH)")
	}
	modular, err := rootDrivers(image, m.root)
	if err != nil {
		return m.doc.ErrorAt("kernel.image", err)
	}
	if modular {
		small, err := initrdFor(m.root, f.Root)
		if err != nil {
			return err
		}
		if err := m.writeInitrd(m.path(f.Files[1]), small, m.ucode()); err != nil {
			return err
		}
		m.addOutput(f.Files[1])
	}
	task := m.Progress.Start("making a root file system of type " + f.Root)
	err = fsimage.Root{Tree: m.root, Time: m.ModTime, ID: m.id(f.Root), Plain: m.Compression != Best}.Make(ctx, f.Root, m.path(f.Files[0]))
	task.Done(err)
	m.addOutput(f.Files[0], f.Files[2], f.Files[3])
	return errors.Join(err, cache.WriteFile(m.path(f.Files[2]), image),
		cache.WriteFile(m.path(f.Files[3]), []byte(microVMCmdline(m.cmdline(), f.Root))))
}

// rootDriver is a driver that a kernel needs for the root of a microVM.
type rootDriver struct{ setting, module string }

var driversOfRoot = []rootDriver{{"EROFS_FS", "erofs"}, {"VIRTIO_BLK", "virtio_blk"}, {"VIRTIO_MMIO", "virtio_mmio"}}

// rootDrivers reports whether the kernel has drivers of the root as modules. It looks into the
// kernel's own configuration or, without one, into depmod's tables in root.
func rootDrivers(vmlinux []byte, root *tree.Tree) (modular bool, err error) {
	settings, err := kernel.Settings(vmlinux)
	if err != nil {
		return false, err
	}
	loadable, builtin, err := moduleNames(root)
	if err != nil {
		return false, err
	}
	if settings == nil && len(loadable)+len(builtin) == 0 {
		return false, errors.New("contains no configuration (CONFIG_IKCONFIG) and comes without modules: cannot find out whether it has the drivers of the root")
	}
	var missing []string
	for _, d := range driversOfRoot {
		switch {
		case settings[d.setting] == "y" || settings == nil && slices.Contains(builtin, d.module):
		case slices.Contains(loadable, d.module):
			modular = true
		default:
			missing = append(missing, "CONFIG_"+d.setting)
		}
	}
	if missing != nil {
		return false, fmt.Errorf("cannot mount the root of a microVM: it lacks %s, also as a module among kernel.modules", strings.Join(missing, ", "))
	}
	return modular, nil
}

// moduleNames returns the names of the modules in a tree, and of those that its kernel has built
// in, by depmod's tables.
func moduleNames(root *tree.Tree) (loadable, builtin []string, err error) {
	for _, e := range root.Entries() {
		if path.Base(path.Dir(path.Dir(e.Path))) != "modules" {
			continue
		}
		switch path.Base(e.Path) {
		case "modules.dep":
			all, err := depmod.ParseDep(strings.NewReader(string(e.Data)))
			if err != nil {
				return nil, nil, fmt.Errorf("cannot read %s: %w", e.Path, err)
			}
			for name := range all {
				loadable = append(loadable, name)
			}
		case "modules.builtin":
			for line := range strings.Lines(string(e.Data)) {
				builtin = append(builtin, depmod.Name(strings.TrimSpace(line)))
			}
		}
	}
	return loadable, builtin, nil
}

// microVMParams are added to the command line unless it has a parameter of that name. Nobody reads
// the kernel's messages in time, and its ciphers need no test at every boot.
var microVMParams = []string{"root=/dev/vda", "init=/init", "quiet", "cryptomgr.notests"}

// microVMCmdline returns the whole command line of a microVM.
func microVMCmdline(line, fstype string) string {
	given := map[string]bool{}
	for _, word := range strings.Fields(line) {
		name, _, _ := strings.Cut(word, "=")
		given[name] = true
	}
	words := []string{line}
	add := func(word string) {
		if name, _, _ := strings.Cut(word, "="); !given[name] {
			words = append(words, word)
		}
	}
	if !given["root"] {
		add("rootfstype=" + fstype)
		if !given["rw"] {
			add("ro")
		}
	}
	for _, word := range microVMParams {
		if word == "cryptomgr.notests" && given["fips"] {
			continue // Its standard wants these tests.
		}
		add(word)
	}
	return strings.TrimSpace(strings.Join(words, " "))
}
