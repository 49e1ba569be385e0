package pid1

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"keelson/testvm/nstest"
)

// mountsDisk adds an onboot container that mounts a file system on a folder of the
// root, after longer than containerd needs to start.
func mountsDisk(t *testing.T, dir, folder string) {
	t.Helper()
	const path = "/containers/onboot/000-disk"
	nstest.Bundle(t, filepath.Join(dir, path), "sleep 1; busybox mount -t tmpfs disk /outer"+folder, nil,
		`{"mounts":[{"destination":"`+path+`/rootfs","source":"`+path+`/rootfs","options":["bind"]}]}`)
	must(t, os.Mkdir(filepath.Join(dir, path, "rootfs/outer"), 0o755))
	config := filepath.Join(dir, path, "config.json")
	text, err := os.ReadFile(config)
	must(t, err)
	var spec specs.Spec
	must(t, json.Unmarshal(text, &spec))
	spec.Linux.RootfsPropagation = "shared"
	spec.Mounts = append(spec.Mounts, specs.Mount{Destination: "/outer", Type: "bind", Source: "/", Options: []string{"rbind", "rshared"}})
	text, err = json.Marshal(spec)
	must(t, err)
	must(t, os.WriteFile(config, text, 0o644))
}

// containerdStarts counts how often containerd has started, by its log.
func containerdStarts(s *nstest.System) int {
	return strings.Count(s.File("/var/log/containerd.log"), "loading plugin\" id=io.containerd.metadata.v1.bolt")
}

const database = "io.containerd.metadata.v1.bolt/meta.db"

// If containerd's folders are on a disk that an onboot container mounts, containerd is
// started once, on the disk, whether the mount point is writable or not.
func TestContainerdOnLateDisk(t *testing.T) {
	for name, tt := range map[string]struct{ disk, file, text string }{
		"sealed":   {"/persist", "config.toml", "version = 3\nroot = \"/persist/containerd\"\n"},
		"writable": {"/var/persist", "config.toml", "version = 3\nroot = \"/var/persist/containerd\"\n"},
		"flag":     {"/persist", "runtime-config.toml", "cliopts = \"--root /persist/containerd\"\n"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := system(t, map[string]string{"etc/containerd/" + tt.file: tt.text, "persist/.keep": "",
				"etc/init.d/000-persist": shell + "mkdir -p /var/persist\n"})
			must(t, os.Symlink("sh", filepath.Join(dir, "bin/mkdir")))
			mountsDisk(t, dir, tt.disk)
			container(t, dir, "/containers/services/web", "exec sleep 1000")
			s := nstest.Boot(t, dir, nstest.Options{})
			if e := s.Stage(timelineReady...); e.Stage != "ready" {
				t.Errorf("got %v", e)
			}
			if !strings.Contains(s.File(tt.disk+"/containerd/"+database), "web") {
				t.Error("the database is not on the disk")
			}
			if n := containerdStarts(s); n != 1 || strings.Contains(s.Console(), "containerd ended") {
				t.Errorf("containerd was started %d times:\n%s", n, s.File("/var/log/containerd.log"))
			}
			s.Signal(syscall.SIGUSR2)
			s.Wait()
			s.Line("shutdown containerd: exited 0")
		})
	}
}

// containerd is restarted when the boot mounts a disk on the folder of its log, or
// creates its settings.
func TestContainerdRestartsAfterBoot(t *testing.T) {
	for name, tt := range map[string]struct{ script, file, word string }{
		"log":      {"mount -t tmpfs disk /var/log", "/var/log/containerd.log", "containerd"},
		"settings": {"mount -t tmpfs disk /etc/containerd\necho 'root = \"/var/elsewhere\"' >/etc/containerd/config.toml", "/var/elsewhere/" + database, "web"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := system(t, map[string]string{"etc/containerd/.keep": "", "etc/init.d/001-disk": shell + tt.script + "\n"})
			must(t, os.Symlink("sh", filepath.Join(dir, "bin/mount")))
			container(t, dir, "/containers/services/web", "exec sleep 1000")
			s := nstest.Boot(t, dir, nstest.Options{})
			if e := s.Stage(timelineReady...); e.Stage != "ready" {
				t.Errorf("got %v", e)
			}
			if !strings.Contains(s.File(tt.file), tt.word) {
				t.Errorf("%s does not contain %q", tt.file, tt.word)
			}
			s.Line("containerd is started again")
			s.Signal(syscall.SIGUSR2)
			s.Wait()
		})
	}
}
