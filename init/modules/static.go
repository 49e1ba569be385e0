package modules

import (
	"errors"
	"io"
	"path/filepath"

	"golang.org/x/sys/unix"

	"keelson/runtime/depmod"
)

// LoadFileSystem loads the module of a file system type by the alias that the kernel
// requests (MODULE_ALIAS_FS), or a module of that name. It reports whether a module
// provides the type; false when it is built in, unknown or blocked by modprobe.d.
func (l *Loader) LoadFileSystem(fstype string) (bool, error) {
	names := l.db.Resolve("fs-" + fstype)
	if len(names) == 0 && l.db.files[fstype].Path != "" {
		names = []string{fstype}
	}
	for _, name := range names {
		if l.db.builtin[name] {
			return false, nil
		}
		if err := l.load(name); err != nil {
			if errors.Is(err, ErrBlocked) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EOPNOTSUPP) { // No such hardware or firmware.
				err = nil
			}
			return false, err
		}
	}
	return len(names) > 0, nil
}

// StaticNode is a character device whose module is loaded when it is opened, with the
// permission bits of its device node.
type StaticNode struct {
	depmod.Node
	Mode uint32
}

// openToAll are the nodes that drivers open to all users. A node that exists before its
// driver keeps its mode.
var openToAll = map[string]bool{"fuse": true, "net/tun": true, "vsock": true}

// StaticNodes reads modules.devname.
func (l *Loader) StaticNodes() ([]StaticNode, error) {
	var nodes []StaticNode
	err := with(filepath.Join(l.db.dir, "modules.devname"), false, func(r io.Reader) error {
		found, err := depmod.ParseDevname(r)
		for _, n := range found {
			mode := uint32(0o600)
			if openToAll[n.Name] {
				mode = 0o666
			}
			nodes = append(nodes, StaticNode{Node: n, Mode: mode})
		}
		return err
	})
	return nodes, err
}
