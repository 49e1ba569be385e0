package prepare

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"keelson/mounts"
	"keelson/netcfg"
	"keelson/runtime/bundle"
)

// linkTime limits the wait for links that the kernel has not yet returned from the
// namespace of an earlier run.
const linkTime = 5 * time.Second

// NeededAfterCreate reports whether AfterCreate has anything to do.
func NeededAfterCreate(b *bundle.Bundle) bool {
	return len(b.Runtime.Interfaces) > 0 || len(b.Runtime.BindNS.Paths()) > 0
}

// AfterCreate gives the container with the first process pid its interfaces, and binds its
// namespaces. Call it between create and start.
func AfterCreate(b *bundle.Bundle, pid int) error {
	links := make([]netcfg.Interface, 0, len(b.Runtime.Interfaces))
	for _, i := range b.Runtime.Interfaces {
		links = append(links, netcfg.Interface{Name: i.Name, Add: i.Add, Peer: i.Peer, CreateInRoot: i.CreateInRoot})
	}
	ctx, cancel := context.WithTimeout(context.Background(), linkTime)
	defer cancel()
	if err := netcfg.Interfaces(ctx, pid, links); err != nil {
		return fmt.Errorf("cannot prepare %s: %w", b.Name, err)
	}
	for _, ns := range b.Runtime.BindNS.Paths() {
		if err := bindNamespace(pid, ns); err != nil {
			return fmt.Errorf("cannot bind %s namespace of %s: %w", ns.Name, b.Name, err)
		}
	}
	return nil
}

func bindNamespace(pid int, ns bundle.NamespacePath) error {
	if err := os.MkdirAll(filepath.Dir(ns.Path), 0o755); err != nil {
		return err
	}
	// Binds of an earlier run may still exist: the namespace and, for mnt, a private mount.
	if err := unmount([]string{ns.Path, ns.Path}); err != nil {
		return err
	}
	if err := touch(ns.Path); err != nil {
		return err
	}
	if ns.Name == "mnt" {
		if err := makePrivate(ns.Path); err != nil {
			return err
		}
	}
	source := filepath.Join("/proc", strconv.Itoa(pid), "ns", ns.Name)
	return mounts.Mount(source, ns.Path, "", []string{"bind"})
}

// makePrivate makes path a private mount: the kernel refuses to bind a mount namespace
// where the bind would propagate into that namespace itself.
func makePrivate(path string) error {
	if err := mounts.Mount(path, path, "", []string{"bind"}); err != nil {
		return err
	}
	return mounts.Mount("", path, "", []string{"private"})
}
