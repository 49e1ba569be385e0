package prepare

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"keelson/runtime/bundle"
)

// FirstCgroup is the name of the cgroup, below the root of the cgroup namespace of a service
// with keelson.delegate, in which its first process starts. The root has no processes, so
// that its controllers can be enabled for the cgroups below ("No Internal Process
// Constraint" in cgroup-v2.rst).
const FirstCgroup = "init"

// CanDelegate returns an error if cgroups of this system cannot be delegated: those of
// version 1 cannot be ("Delegation Containment" in cgroup-v2.rst).
func CanDelegate() error { return canDelegate(cgroupRoot) }

func canDelegate(root string) error {
	var s unix.Statfs_t
	if err := unix.Statfs(root, &s); err != nil || s.Type != unix.CGROUP2_SUPER_MAGIC {
		return fmt.Errorf("annotation %sdelegate: bad value %q: the system has cgroups of version 1, which cannot be delegated: "+
			"remove linuxkit.unified_cgroup_hierarchy=0 from the kernel command line", bundle.SettingsPrefix, "true")
	}
	return nil
}

// Delegate gives the container whose cgroup is at path, and whose first process is pid, the
// cgroups below: the process is moved to FirstCgroup, all controllers are enabled, and
// owner, the machine's ID of the container's root, may write where delegation allows it.
// Call it between create and start: the root of the cgroup namespace is path.
func Delegate(path string, pid int, owner uint32) error {
	if err := delegate(filepath.Join(cgroupRoot, path), pid, int(owner)); err != nil {
		return fmt.Errorf("cannot delegate cgroup %s: %w", path, err)
	}
	return nil
}

func delegate(dir string, pid, owner int) error {
	first := filepath.Join(dir, FirstCgroup)
	if err := os.Mkdir(first, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := os.WriteFile(filepath.Join(first, "cgroup.procs"), fmt.Append(nil, pid), 0); err != nil {
		return err
	}
	if err := enableControllers(dir); err != nil || owner == 0 {
		return err
	}
	for _, dir := range []string{dir, first} {
		if err := giveCgroup(dir, owner); err != nil {
			return err
		}
	}
	return nil
}

// enableControllers enables all controllers of a cgroup for those below.
func enableControllers(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for name := range strings.FieldsSeq(string(text)) {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+name), 0); err != nil {
			return fmt.Errorf("controller %s: %w", name, err)
		}
	}
	return nil
}

// delegatedFiles are what the owner of a delegated cgroup may write to, if the kernel does not
// list them in /sys/kernel/cgroup/delegate ("Model of Delegation" in cgroup-v2.rst).
const delegatedFiles = "cgroup.procs cgroup.threads cgroup.subtree_control"

// giveCgroup gives owner the right to make cgroups below the one with the folder dir. Its
// limits keep their owner.
func giveCgroup(dir string, owner int) error {
	files := delegatedFiles
	if text, err := os.ReadFile("/sys/kernel/cgroup/delegate"); err == nil {
		files = string(text)
	}
	if err := os.Chown(dir, owner, owner); err != nil {
		return err
	}
	for file := range strings.FieldsSeq(files) {
		err := os.Chown(filepath.Join(dir, file), owner, owner)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // Only some cgroups have the file.
			return err
		}
	}
	return nil
}
