package prepare

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"keelson/runtime/bundle"
)

func TestPlan(t *testing.T) {
	b := &bundle.Bundle{Dir: "/containers/services/w", Name: "w", Runtime: bundle.Runtime{Mounts: []bundle.Mount{
		{Destination: "/containers/services/w/tmp", Type: "tmpfs", Source: "tmpfs"},
		{Destination: "/containers/services/w/tmp", Options: []string{"remount", "private"}},
		{Destination: "/containers/services/w/rootfs", Type: "overlay", Source: "overlay"},
		{Destination: "../../etc/x", Source: "/etc/x", Options: []string{"ro,bind"}},
		{Destination: "/var/lib/w", Type: "tmpfs", Source: "tmpfs"},
		{Destination: "/containers/services/w2", Type: "tmpfs"},
		{Destination: "/", Options: []string{"rshared"}},
	}}}
	type short struct {
		dest                  string
		below, makes, private bool
	}
	want := []short{
		{"/containers/services/w/tmp", false, true, true},
		{"/containers/services/w/tmp", false, false, true},
		{"/containers/services/w/rootfs", false, true, true},
		{"/containers/services/w/rootfs/etc/x", true, true, true},
		{"/var/lib/w", false, true, false},
		{"/containers/services/w2", false, true, false},
		{"/", false, false, false},
	}
	var got []short
	for _, m := range plan(b) {
		got = append(got, short{m.Destination, m.below, m.makes, m.private})
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("plan:\n%+v, want\n%+v", got, want)
	}
}

func TestOverlayOf(t *testing.T) {
	m := bundle.Mount{Type: "overlay", Options: []string{"lowerdir=/l:/l2", "upperdir=/u,workdir=/w"}}
	if got, want := overlayOf(m), (overlay{"/l", "/u", "/w"}); got != want {
		t.Errorf("overlay of %+v, want %+v", got, want)
	}
	m.Type = "tmpfs"
	if got := overlayOf(m); got != (overlay{}) {
		t.Errorf("tmpfs with an overlay of %+v", got)
	}
}

// The owner of what is mounted on the rootfs counts.
func TestUnmappedRoot(t *testing.T) {
	dir, uid := t.TempDir(), uint32(os.Getuid())
	for _, c := range []struct {
		mounts []bundle.Mount
		host   uint32
		want   string // part of the warning; empty if there is none
	}{
		{nil, uid + 1, "rootfs"},
		{nil, uid, ""},
		{[]bundle.Mount{{Destination: "rootfs", Type: "overlay", Options: []string{"lowerdir=" + dir + "/lower"}}}, uid + 1, "lower"},
		{[]bundle.Mount{{Destination: "rootfs", Source: dir + "/bound", Options: []string{"bind"}}, {Destination: "bound", Type: "tmpfs"}}, uid + 1, "bound"},
		{[]bundle.Mount{{Destination: "rootfs", Source: dir + "/none", Options: []string{"bind"}}}, uid + 1, ""},
	} {
		b := &bundle.Bundle{Dir: dir, Spec: &specs.Spec{Root: &specs.Root{Path: "rootfs"}, Linux: &specs.Linux{
			UIDMappings: []specs.LinuxIDMapping{{ContainerID: 0, HostID: c.host, Size: 1}}}}}
		for _, m := range c.mounts {
			m.Destination = filepath.Join(dir, m.Destination)
			b.Runtime.Mounts = append(b.Runtime.Mounts, m)
		}
		for _, d := range []string{"rootfs", "lower", "bound"} {
			if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		got := UnmappedRoot(b)
		if (got == "") != (c.want == "") || !strings.Contains(got, filepath.Join(dir, c.want)) && c.want != "" {
			t.Errorf("%+v: %q, want one about %q", c.mounts, got, c.want)
		}
	}
}

func TestMapped(t *testing.T) {
	usual := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
	last := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 0, Size: 1}, {ContainerID: 1, HostID: 1<<32 - 1, Size: 1<<32 - 1}}
	for _, c := range []struct {
		mappings []specs.LinuxIDMapping
		uid      uint32
		want     bool
	}{
		{usual, 0, false}, {usual, 99999, false}, {usual, 100000, true}, {usual, 165535, true}, {usual, 165536, false},
		{last, 0, true}, {last, 1, false}, {last, 1<<32 - 1, true},
	} {
		if got := mapped(c.mappings, c.uid); got != c.want {
			t.Errorf("%v: user %d is mapped: %v", c.mappings, c.uid, got)
		}
	}
}

func TestCovers(t *testing.T) {
	tmpfs, overlay := &mountinfo.Info{FSType: "tmpfs", Source: "tmpfs"}, &mountinfo.Info{FSType: "overlay", Source: "overlay"}
	for _, tt := range []struct {
		mounted []*mountinfo.Info
		mount   bundle.Mount
		want    bool
	}{
		{nil, bundle.Mount{Type: "tmpfs", Source: "tmpfs"}, false},
		{[]*mountinfo.Info{tmpfs}, bundle.Mount{Type: "tmpfs", Source: "tmpfs"}, true},
		{[]*mountinfo.Info{tmpfs}, bundle.Mount{Type: "tmpfs"}, true},
		{[]*mountinfo.Info{tmpfs}, bundle.Mount{Type: "tmpfs", Source: "other"}, false},
		{[]*mountinfo.Info{overlay, tmpfs}, bundle.Mount{Type: "overlay", Source: "overlay"}, false},
	} {
		if got := covers(tt.mounted, tt.mount); got != tt.want {
			t.Errorf("covers(%v, %+v) = %v", tt.mounted, tt.mount, got)
		}
	}
}

func TestLegacyCgroups(t *testing.T) {
	root := t.TempDir()
	for _, c := range []string{"cpu,cpuacct", "memory"} {
		if err := os.Mkdir(filepath.Join(root, c), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("cpu,cpuacct", filepath.Join(root, "cpu")); err != nil {
		t.Fatal(err)
	}
	if err := makeCgroups(root, []string{"limits", "/limits/web", "../escape"}); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"memory/limits/web", "cpu,cpuacct/limits/web", "memory/escape"} {
		if _, err := os.Stat(filepath.Join(root, dir)); err != nil {
			t.Error(err)
		}
	}
}

func TestRemoveCgroups(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"p/own/deep", "p/x/deep", "p/y/z", "p/y/w", "px", "q/own/init"} {
		if err := os.MkdirAll(filepath.Join(root, "pids", dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := removeCgroups(root, "/p", []string{"/p/x", "/p/y/z", "/px"}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", "/", "/p/.."} {
		if err := removeCgroups(root, path, nil); err == nil {
			t.Errorf("cgroups are removed at %q", path)
		}
	}
	if err := removeCgroups(root, "/q", []string{"/p/x"}); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]bool{"p": true, "q": false, "p/own": false, "p/x/deep": true, "p/y/z": true, "p/y/w": false, "px": true} {
		if _, err := os.Stat(filepath.Join(root, "pids", dir)); (err == nil) != want {
			t.Errorf("%s exists: %v", dir, err == nil)
		}
	}
}
