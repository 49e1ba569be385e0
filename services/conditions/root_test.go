package conditions

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/condition"
	"keelson/testvm/nstest"
	"keelson/testvm/tier"
)

func TestMain(m *testing.M) { nstest.Main(m) }

// Each change of files, mounts and the network is noticed by the kernel's events, without
// polling.
func TestWatcher(t *testing.T) {
	tier.Tool(t, "ip", "iproute2")
	nstest.Run(t, func(t *testing.T) {
		dir := t.TempDir()
		file, node, mount := filepath.Join(dir, "a/b/file"), filepath.Join(dir, "dev/node"), filepath.Join(dir, "mnt")
		reports := make(chan map[condition.Condition]bool, 100)
		w, err := New(func(met map[condition.Condition]bool) { reports <- met })
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			w.Run(ctx, func(err error) { t.Errorf("it polls: %v", err) })
			close(ended)
		}()
		last := map[condition.Condition]bool{}
		until := func(step string, c condition.Condition, want bool) {
			t.Helper()
			limit := time.After(5 * time.Minute)
			for last[c] != want {
				select {
				case last = <-reports:
				case <-limit:
					t.Fatalf("%s: %v stays %v", step, c, !want)
				}
			}
		}
		do := func(errs ...error) {
			t.Helper()
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
		}
		ip := func(args ...string) {
			t.Helper()
			if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
				t.Fatalf("ip %v: %v: %s", args, err, out)
			}
		}
		path, device, at := condition.Condition{Kind: condition.Path, Arg: file}, condition.Condition{Kind: condition.Device, Arg: node}, condition.Condition{Kind: condition.Mount, Arg: mount}
		link, online := condition.Condition{Kind: condition.Net, Arg: "veth7"}, condition.Condition{Kind: condition.Net, Arg: condition.Online}
		root, dns := condition.Condition{Kind: condition.Path, Arg: "/"}, condition.Condition{Kind: condition.DNS}
		etc, resolv := filepath.Join(dir, "etc"), filepath.Join(dir, "run/resolv.conf")
		do(os.Mkdir(etc, 0o755), os.Symlink(resolv, filepath.Join(etc, "resolv.conf")), unix.Mount(etc, "/etc", "", unix.MS_BIND, ""))
		w.Want([]condition.Condition{path, device, at, link, online, root, dns})
		until("at the beginning", root, true)
		for range 2 {
			do(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, nil, 0o644))
			until("the file is made", path, true)
			do(os.MkdirAll(filepath.Dir(node), 0o755), unix.Mknod(node, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
			until("the node is made", device, true)
			do(os.MkdirAll(mount, 0o755), unix.Mount("tmpfs", mount, "tmpfs", 0, ""))
			until("mounted", at, true)
			do(unix.Mount("tmpfs", filepath.Dir(file), "tmpfs", 0, ""))
			until("the file is covered", path, false)
			do(unix.Unmount(filepath.Dir(file), 0))
			until("the file is uncovered", path, true)

			do(os.MkdirAll(filepath.Dir(resolv), 0o755), os.WriteFile(resolv, nil, 0o644), os.WriteFile(resolv, []byte("nameserver 192.0.2.53\n"), 0o644))
			until("a server is named", dns, true)
			do(os.WriteFile(resolv, []byte("search example.org\n"), 0o644))
			until("no server is named", dns, false)
			do(os.WriteFile(resolv, []byte("nameserver 192.0.2.53\n"), 0o644))
			until("a server is named again", dns, true)

			ip("link", "add", "veth7", "type", "veth", "peer", "name", "veth8")
			ip("link", "set", "veth8", "up")
			ip("link", "set", "veth7", "up")
			ip("address", "add", "192.0.2.1/24", "dev", "veth7")
			until("the interface has an address", link, true)
			ip("route", "add", "default", "via", "192.0.2.2")
			until("there is a default route", online, true)

			ip("link", "delete", "veth7")
			do(os.RemoveAll(filepath.Join(dir, "a")), os.RemoveAll(filepath.Dir(resolv)), os.Remove(node), unix.Unmount(mount, 0))
			for _, c := range []condition.Condition{link, online, path, device, at, dns} {
				until("all is gone", c, false)
			}
		}
		w.Want([]condition.Condition{root})
		for len(last) != 1 {
			last = <-reports
		}
		cancel()
		<-ended
		if last[root] != true {
			t.Error(fmt.Sprint(last))
		}
	})
}
