package programs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"keelson/testvm/nstest"
	"keelson/testvm/tier"
)

// otherContainerd builds upstream's containerd of another version than keelson's, in a module
// of its own.
func otherContainerd(t *testing.T, module, version string) string {
	t.Helper()
	tier.Long(t) // It compiles another containerd.
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module stock\n\ngo 1.26\n\nrequire "+module+" "+version+"\n"), 0o644))
	for _, args := range [][]string{
		{"get", "-tool", module + "/cmd/containerd"},
		{"build", "-trimpath", "-tags", "no_btrfs no_devmapper no_zfs no_aufs no_cri no_tracing",
			"-ldflags", "-s -w -X " + module + "/version.Version=" + version, "-o", "containerd", module + "/cmd/containerd"},
	} {
		cmd := exec.Command("go", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=mod")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("cannot build containerd %s: %v\n%s", version, err, out)
		}
	}
	return filepath.Join(dir, "containerd")
}

// A containerd of another major version would kill running services: it is refused.
func TestContainerdMajor(t *testing.T) {
	k := newKeys(t)
	other := otherContainerd(t, "github.com/containerd/containerd", "v1.7.28")
	s := boot(t, tree(t, k), nstest.Options{})
	out, err := s.service(artifact(t, k, map[string]string{"usr/bin/containerd": other}), "swap", "-programs", "-")
	if err == nil || !strings.Contains(out, "containerd 1 does not adopt the running services of containerd 2") {
		t.Errorf("%v:\n%s", err, out)
	}
	s.untouched()
	s.ends()
}

// A containerd of another version adopts running tasks, and keelson's adopts them again.
func TestContainerdVersions(t *testing.T) {
	for _, v := range []struct{ module, version string }{
		{"github.com/containerd/containerd/v2", "v2.1.4"},
	} {
		t.Run(v.version, func(t *testing.T) {
			k := newKeys(t)
			other := otherContainerd(t, v.module, v.version)
			s := boot(t, tree(t, k), nstest.Options{})
			out, err := s.service(artifact(t, k, map[string]string{"usr/bin/containerd": other}), "swap", "-programs", "-probation", "1s", "-")
			if err != nil || !strings.Contains(out, v.version) {
				t.Fatalf("%v:\n%s", err, out)
			}
			s.untouched()
			if out, err := s.service("", "restart", "web"); err != nil { // Its task is made by the other version.
				t.Fatalf("%v:\n%s", err, out)
			}
			s.web = s.one("sh", writer)
			if out, err = s.service("", "rollback", "-programs", "-probation", "1s"); err != nil {
				t.Fatalf("%v:\n%s", err, out)
			}
			if now := s.one("sh", writer); now != s.web {
				t.Errorf("the service was process %d and is %d", s.web, now)
			}
			if out, err := s.service("", "restart", "web"); err != nil {
				t.Fatalf("%v:\n%s", err, out)
			}
			s.ends()
		})
	}
}
