package prepare

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/moby/sys/mountinfo"

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

func TestOverlayDirs(t *testing.T) {
	m := bundle.Mount{Type: "overlay", Options: []string{"lowerdir=/l", "upperdir=/u,workdir=/w", "upperdir="}}
	if got := overlayDirs(m); !reflect.DeepEqual(got, []string{"/u", "/w"}) {
		t.Errorf("overlay needs %v", got)
	}
	m.Type = "tmpfs"
	if got := overlayDirs(m); got != nil {
		t.Errorf("tmpfs needs %v", got)
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
