package supervisor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"keelson/services/control"
	"keelson/testvm/nstest"
)

// rangeOf returns the first ID of the machine that a process's user namespace has.
func rangeOf(t *testing.T, pid int) (first int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/uid_map", pid))
	if err != nil {
		t.Fatal(err)
	}
	var inside, size int
	if _, err := fmt.Sscan(string(text), &inside, &first, &size); err != nil || inside != 0 || size != 65536 {
		t.Fatalf("mapping %q", text)
	}
	return first
}

// Services with keelson.userns have IDs of their own, also for the commands of probes, with
// sd_notify(3), and when they open their standard output by name. They keep them when they
// and the supervisor are started again. One that cannot have them does not run; the others do.
func TestOwnUsers(t *testing.T) {
	testapp := buildTestapp(t)
	nstest.Run(t, func(t *testing.T) {
		s := prepareSystem(t)
		if err := os.Chmod(filepath.Join(s.dir, "../.."), 0o755); err != nil { // for the users of containers
			t.Fatal(err)
		}
		data := filepath.Join(filepath.Dir(s.dir), "data")
		if err := os.Mkdir(data, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(data, 0o777); err != nil {
			t.Fatal(err)
		}
		ram := filepath.Join(filepath.Dir(s.dir), "ram")
		if err := errors.Join(os.Mkdir(ram, 0o755), unix.Mount("ramfs", ram, "ramfs", 0, "")); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Unmount(ram, unix.MNT_DETACH) })
		const probe = "exec:/bin/sh -c '/bin/busybox test $(/bin/busybox id -u) = 0 && /bin/busybox test ! -O /proc/sys'"
		for name, script := range map[string]string{
			"web":  "busybox touch /tmp/web-$$; echo by name >/dev/stdout; " + wellBehaved,
			"db":   "n=0; trap 'exit 0' TERM; while :; do testapp notify READY=1 STATUS=$((n+=1)); sleep 0.05; done",
			"none": wellBehaved,
			"ram":  wellBehaved,
		} {
			ready := map[string]string{"web": probe, "db": "notify", "none": "none", "ram": "none"}[name]
			s.add(name, script, map[string]string{"keelson.userns": "auto", "keelson.ready": ready, "keelson.capabilities": "docker-default"})
			s.addTestapp(name, testapp)
			s.edit(name, func(spec *specs.Spec) {
				hostNetwork(spec)
				spec.Root.Readonly = true
				spec.Mounts = append(spec.Mounts, specs.Mount{Destination: "/tmp", Type: "bind", Source: data, Options: []string{"rbind", "rw"}})
				if name == "ram" {
					spec.Mounts = append(spec.Mounts, specs.Mount{Destination: "/run", Type: "bind", Source: ram, Options: []string{"bind", "idmap"}})
				}
				if name == "none" {
					spec.Linux.UIDMappings = []specs.LinuxIDMapping{{HostID: 1000, Size: 10}}
				}
			})
		}
		s.begin()
		web, db := s.until("web", "running", running), s.until("db", "running", running)
		first, other := rangeOf(t, web.PID), rangeOf(t, db.PID)
		if first == other {
			t.Errorf("both have the IDs from %d on", first)
		}
		var st unix.Stat_t
		if err := unix.Stat(fmt.Sprintf("/proc/%d", web.PID), &st); err != nil || int(st.Uid) != first {
			t.Errorf("its process belongs to %d, want %d (%v)", st.Uid, first, err)
		}
		s.until("web", "heard", func(control.Service) bool { return strings.Contains(logOf(t, "web.out.log"), "by name\nup\n") })
		for name, want := range map[string]string{"none": "none/config.json: field linux.uidMappings: ", "ram": "mounts: /run: option idmap: "} {
			refused := s.until(name, "refused", func(v control.Service) bool { return v.Error != "" })
			if !strings.Contains(refused.Error, want) || refused.PID != 0 {
				t.Errorf("%+v, want %s", refused, want)
			}
		}

		s.ask(control.Restart, "web")
		again := s.until("web", "restarted", func(v control.Service) bool { return running(v) && v.PID != web.PID })
		_ = s.supervisor.Process.Kill()
		_ = s.supervisor.Wait()
		s.supervise()
		s.until("web", "taken over", func(v control.Service) bool { return running(v) && v.PID == again.PID })
		s.until("db", "heard", func(v control.Service) bool { return running(v) && v.Status != "" && v.Status != db.Status })
		s.ask(control.Restart, "web")
		third := s.until("web", "restarted again", func(v control.Service) bool { return running(v) && v.PID != again.PID })
		if now := rangeOf(t, third.PID); now != first {
			t.Errorf("after a restart it has the IDs from %d on, before %d", now, first)
		}
		files, err := os.ReadDir(data)
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, f := range files {
			if err := unix.Stat(filepath.Join(data, f.Name()), &st); err != nil || int(st.Uid) != first {
				t.Errorf("%s belongs to %d, want %d (%v)", f.Name(), st.Uid, first, err)
			}
		}
		s.end()
		for name := range map[string]bool{"web": true, "db": true} {
			entries, err := os.ReadDir(filepath.Join(s.dir, name, "rootfs"))
			if err != nil || len(entries) == 0 {
				t.Errorf("%s: %v, %v", name, entries, err)
			}
			if err := unix.Stat(filepath.Join(s.dir, name, "rootfs"), &st); err != nil || st.Uid != 0 {
				t.Errorf("the root of %s belongs to %d: it is still mounted (%v)", name, st.Uid, err)
			}
		}
	})
}
