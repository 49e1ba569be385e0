package prepare

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"keelson/mounts"
	"keelson/runtime/bundle"
	"keelson/runtime/paths"
)

// A container with keelson.userns: auto sees the files of its root filesystem as their
// owners of the image. There are three ways, of which the first that the kernel supports
// is taken:
//
//   - The root filesystem is covered by an ID-mapped bind of itself.
//   - The root is an overlay in memory, as writable containers have it: its lower layer is
//     ID-mapped (Linux 5.19). The upper layer holds what the container writes.
//   - An initramfs cannot be ID-mapped: its type lacks FS_ALLOW_IDMAP (rootfs_fs_type of
//     the kernel's init/do_mounts.c, up to Linux 6.18), nor can a tmpfs before 6.3. Then the
//     files get other owners in the upper layer of an overlay in memory, which holds only
//     metadata ("metacopy" in the kernel's overlayfs.rst).

// usersSource is the source of the overlay of the third way, in /proc/self/mountinfo.
const usersSource = "keelson-userns"

// usersDir returns the folder of the layers of that overlay. Two versions of a service,
// which have the same IDs, have different ones.
func usersDir(b *bundle.Bundle) string {
	h := fnv.New32a()
	h.Write([]byte(b.Dir))
	return filepath.Join(paths.State, "userns", fmt.Sprintf("%d-%08x", b.FirstID, h.Sum32()))
}

// usersMounted reports whether the files on a mount point belong to the users of a container.
func usersMounted(dir string) bool {
	top := topMount(dir)
	return top.Source == usersSource || slices.Contains(strings.Split(top.Options, ","), "idmapped")
}

// topMount returns the topmost mount on dir, or the zero value.
func topMount(dir string) (top mountinfo.Info) {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return top
	}
	at, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) { return i.Mountpoint != dir, false })
	if err == nil && len(at) > 0 {
		top = *at[len(at)-1]
	}
	return top
}

// applyUsers makes a mount that gives files to the users of b.
func applyUsers(b *bundle.Bundle, m mount) (target string, made bool, err error) {
	target = m.Destination
	if !m.root { // It is mounted together with the overlay, if that is necessary.
		return target, !usersMounted(b.Rootfs()), nil
	}
	if b.FirstID == 0 {
		return target, false, fmt.Errorf("cannot give %s to users of the container: no user IDs were assigned", target)
	}
	users, err := mounts.UserNamespace(b.FirstID, bundle.UserRange)
	if err != nil {
		return target, false, err
	}
	defer users.Close()
	u := usersRoot{b, users}
	if m.Type == "overlay" {
		made, err = u.overlay(m.Mount)
		return target, made, err
	}
	if usersMounted(target) { // The maker may have been interrupted.
		return target, false, u.own(target)
	}
	if err := makeBelow(b); err != nil {
		return target, false, err
	}
	err = mounts.BindIDMapped(target, target, users)
	if errors.Is(err, mounts.ErrNoIDMap) {
		err = u.cover(target)
	}
	return target, err == nil, err
}

// makeBelow makes the folders and mount points that b asks for in its root filesystem: on
// an ID-mapped mount, root of the machine cannot make files (EOVERFLOW).
func makeBelow(b *bundle.Bundle) error {
	for _, m := range plan(b) {
		if !m.below || !m.makes {
			continue
		}
		var err error
		if m.Destination, err = below(b, m.Destination); err != nil {
			return err
		}
		if err := makeDestination(m.Mount); err != nil {
			return err
		}
	}
	return makeDirs(b)
}

// usersRoot is the root filesystem of a container with the users of its user namespace.
type usersRoot struct {
	bundle *bundle.Bundle
	users  *os.File
}

// cover mounts an overlay on a read-only root, whose files get other owners. A writable
// root is refused: what a container writes would be gone after its end.
func (u usersRoot) cover(root string) (err error) {
	if s := u.bundle.Spec; s == nil || s.Root == nil || !s.Root.Readonly {
		return fmt.Errorf("root.readonly: false: %w: set readonly: true, or mount an overlay on the root", noIDMap(root))
	}
	dir := usersDir(u.bundle)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot make overlay directory: %w", err)
	}
	made := []string{dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, unmount(made))
		}
	}()
	for _, options := range [][]string{{"mode=700"}, {"remount", "private"}} {
		if err := mounts.Mount("tmpfs", dir, "tmpfs", options); err != nil {
			return err
		}
	}
	m := bundle.Mount{Destination: root, Source: usersSource, Type: "overlay", Options: []string{
		"lowerdir=" + escapeLayer(root), "upperdir=" + filepath.Join(dir, "upper"), "workdir=" + filepath.Join(dir, "work"),
	}}
	if err := u.metadataOverlay(m); err != nil {
		return err
	}
	made = append(made, root)
	return u.own(root)
}

// escapeLayer returns the path of a layer as an option: a colon separates layers, a comma
// options.
func escapeLayer(path string) string {
	return strings.NewReplacer(`\`, `\\`, ":", `\:`, ",", `\,`).Replace(path)
}

// overlay makes the overlay of a writable container. One that exists is completed: its
// maker may have been interrupted.
func (u usersRoot) overlay(m bundle.Mount) (made bool, err error) {
	if err := makeDestination(m); err != nil {
		return false, err
	}
	there, err := isMounted(m)
	if err != nil {
		return false, err
	}
	if !there {
		err = u.overlayIDMapped(m)
		if errors.Is(err, mounts.ErrNoIDMap) || errors.Is(err, unix.EINVAL) { // before Linux 5.19
			_ = os.Remove(overlayOf(m).upper) // If it is new, its owner marks the files as given (own).
			err = u.metadataOverlay(m)
		}
		if err != nil {
			return false, err
		}
	}
	if err := u.own(m.Destination); err != nil {
		if !there {
			err = errors.Join(err, unmount([]string{m.Destination}))
		}
		return false, err
	}
	return !there, nil
}

// overlayIDMapped mounts the overlay m with ID-mapped lower layers. These are mounted for
// that moment only: the overlay has mounts of its own.
func (u usersRoot) overlayIDMapped(m bundle.Mount) (err error) {
	var dir string
	if err = os.MkdirAll(paths.State, 0o755); err == nil {
		dir, err = os.MkdirTemp(paths.State, "layers-")
	}
	if err != nil {
		return fmt.Errorf("cannot make a folder for layers: %w", err)
	}
	defer os.Remove(dir)
	if err := errors.Join(mounts.Mount(dir, dir, "", []string{"bind"}), mounts.Mount("", dir, "", []string{"private"})); err != nil {
		return err
	}
	made, folders := []string{dir}, []string{}
	defer func() {
		for _, folder := range folders { // Only empty ones: a layer that is still mounted keeps its files.
			_ = os.Remove(folder)
		}
		err = errors.Join(err, unmount(made[:1]))
	}()
	defer func() { err = errors.Join(err, unmount(made[1:])) }()
	var layers []string
	for i, lower := range strings.Split(m.Option("lowerdir"), ":") {
		layer := filepath.Join(dir, strconv.Itoa(i))
		if err := os.Mkdir(layer, 0o700); err != nil {
			return fmt.Errorf("cannot make a folder for a layer: %w", err)
		}
		folders = append(folders, layer)
		if err := mounts.BindIDMapped(lower, layer, u.users); err != nil {
			return err
		}
		made, layers = append(made, layer), append(layers, layer)
		// Else the overlay propagates to the layer if it covers that, and is unmounted with it.
		if err := mounts.Mount("", layer, "", []string{"private"}); err != nil {
			return err
		}
	}
	m.Options = append(slices.DeleteFunc(m.EachOption(), func(o string) bool { return strings.HasPrefix(o, "lowerdir=") }),
		"lowerdir="+strings.Join(layers, ":"))
	return mountOverlay(m)
}

// metadataOverlay mounts an overlay that copies only the metadata of files whose owner
// changes.
func (u usersRoot) metadataOverlay(m bundle.Mount) error {
	lower, _, _ := strings.Cut(m.Option("lowerdir"), ":")
	m.Options = append(m.EachOption(), "metacopy=on")
	if err := mountOverlay(m); err != nil {
		return fmt.Errorf("%w: %w", noIDMap(lower), err)
	}
	if slices.Contains(strings.Split(topMount(m.Destination).VFSOptions, ","), "metacopy=on") {
		return nil
	}
	err := fmt.Errorf("%w: an overlay would copy the files: its upper layer has no extended attributes (CONFIG_TMPFS_XATTR)", noIDMap(lower))
	return errors.Join(err, unmount([]string{m.Destination}))
}

func mountOverlay(m bundle.Mount) error {
	if err := makeOverlayDirs(overlayOf(m)); err != nil {
		return err
	}
	return mounts.Mount(m.Source, m.Destination, m.Type, m.Options)
}
