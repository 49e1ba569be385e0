package modules

import (
	"errors"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// LoadFileSystem loads the module of a type of file system, as the kernel asks
// for it (MODULE_ALIAS_FS), or a module of that name. It reports whether the
// type is there because of a module; false when it is built in, unknown or
// blocked by modprobe.d.
func (l *Loader) LoadFileSystem(fstype string) (bool, error) {
	names := l.db.Resolve("fs-" + fstype)
	if len(names) == 0 && l.db.files[fstype].path != "" {
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

// StaticNode is a character device whose module is loaded when it is opened.
// Name is relative to /dev, Mode are permission bits.
type StaticNode struct {
	Name         string
	Mode         uint32
	Major, Minor uint32
}

// openToAll are the nodes that drivers give everybody. A node that exists
// before its driver keeps the mode that it has.
var openToAll = map[string]bool{"fuse": true, "net/tun": true, "vsock": true}

// StaticNodes reads modules.devname, which depmod writes.
func (db *DB) StaticNodes() (nodes []StaticNode, err error) {
	err = with(filepath.Join(db.dir, "modules.devname"), false, func(r io.Reader) (err error) {
		nodes, err = parseDevname(r)
		return err
	})
	return nodes, err
}

// parseDevname reads lines "MODULE NAME cMAJOR:MINOR". Block devices are left
// out, and names that would leave /dev.
func parseDevname(r io.Reader) ([]StaticNode, error) {
	var nodes []StaticNode
	err := lines(r, func(f []string) {
		if len(f) != 3 || !filepath.IsLocal(f[1]) {
			return
		}
		numbers, ok := strings.CutPrefix(f[2], "c")
		first, second, _ := strings.Cut(numbers, ":")
		major, majorErr := strconv.ParseUint(first, 10, 12) // Sizes of MAJOR and MINOR: linux/kdev_t.h.
		minor, minorErr := strconv.ParseUint(second, 10, 20)
		if !ok || majorErr != nil || minorErr != nil {
			return
		}
		mode := uint32(0o600)
		if openToAll[f[1]] {
			mode = 0o666
		}
		nodes = append(nodes, StaticNode{Name: f[1], Mode: mode, Major: uint32(major), Minor: uint32(minor)})
	})
	return nodes, err
}

// StaticNodes are those of the modules of the database.
func (l *Loader) StaticNodes() ([]StaticNode, error) { return l.db.StaticNodes() }
