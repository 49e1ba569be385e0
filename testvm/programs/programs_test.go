package programs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keelson/testvm/nstest"
)

// All programs are replaced and rolled back under a running service.
func TestSwap(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	s := boot(t, tree(t, k), nstest.Options{})
	image := s.version()
	out, err := s.service(artifact(t, k, whole(t, "second")), "swap", "-programs", "-probation", "1s", "-")
	if err != nil || !strings.Contains(out, "committed") || !strings.Contains(out, "is in memory") {
		t.Fatalf("%v:\n%s", err, out)
	}
	t.Log(out)
	s.running("second")
	s.untouched()
	if out := s.Output("/usr/bin/service", "diff"); !strings.Contains(out, "-programs") || !strings.Contains(out, "swapped") {
		t.Errorf("service diff:\n%s", out)
	}
	out, err = s.service("", "rollback", "-programs", "-probation", "1s")
	if err != nil || !strings.Contains(out, "committed") {
		t.Fatalf("%v:\n%s", err, out)
	}
	s.running(strings.TrimSpace(image))
	s.untouched()
	s.ends()
}

// Versions that fail: what ran before runs again, and the service has not noticed.
func TestRestored(t *testing.T) {
	k := newKeys(t)
	dir := faulty(t, k)
	own := nstest.Guest(t, "usr/bin/service")
	for name, tc := range map[string]struct {
		files map[string]string
		want  string
	}{
		"supervisor that exits": {map[string]string{"usr/bin/service": program(t, "broken-exits"), "usr/bin/containerd": own}, "the supervisor ended"},
		"supervisor that hangs": {map[string]string{"usr/bin/service": program(t, "broken-hangs"), "usr/bin/containerd": own}, "did not end within 2s"},
		"containerd that exits": {map[string]string{"usr/bin/containerd": program(t, "broken-exits")}, "containerd does not answer"},
		"containerd that hangs": {map[string]string{"usr/bin/containerd": program(t, "broken-hangs")}, "containerd does not answer"},
		"runc that fails":       {map[string]string{"usr/bin/runc": program(t, "broken-exits")}, "cannot run a container"},
		"shim that fails":       {map[string]string{"usr/bin/containerd-shim-runc-v2": program(t, "broken-exits")}, "cannot run a container"},
		"runc that hangs":       {map[string]string{"usr/bin/runc": program(t, "broken-hangs")}, "not ready within"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := boot(t, dir, nstest.Options{})
			image := s.version()
			if name == "supervisor that hangs" { // The others fail in time by themselves.
				must(t, os.WriteFile(filepath.Join(s.Root, limitFile), []byte("2s"), 0o600))
			}
			file := artifact(t, k, tc.files)
			out, err := s.service(file, "swap", "-programs", "-")
			if err == nil || !strings.Contains(out, tc.want) || !strings.Contains(out, "image is restored") {
				t.Fatalf("%v:\n%s", err, out)
			}
			s.running(strings.TrimSpace(image))
			s.untouched()
			s.Line("programs: swap to", tc.want)
			if out, err := s.service(file, "swap", "-programs", "-"); err == nil || !strings.Contains(out, "failed before") {
				t.Errorf("the same version again: %v:\n%s", err, out)
			}
			s.ends()
		})
	}
}

// What the policy does not allow, and what is no artifact of programs, changes nothing.
func TestRefused(t *testing.T) {
	k, other := newKeys(t), newKeys(t)
	dir := tree(t, k)
	none := tree(t, k)
	must(t, os.Remove(filepath.Join(none, "etc/keelson/swap.yml")))
	good := whole(t, "second")
	for name, tc := range map[string]struct {
		dir, file, want string
	}{
		"no signature":      {dir, artifact(t, keys{}, good), "the artifact has no signature"},
		"another key":       {dir, artifact(t, other, good), "a signature by test"},
		"no policy":         {none, artifact(t, k, good), "needs the entry programs"},
		"does not start":    {dir, artifact(t, k, map[string]string{"usr/bin/runc": "/bin/false"}), "of the new version failed"},
		"no artifact":       {dir, "/etc/passwd", "cannot read the artifact"},
		"nothing to return": {dir, "", "no previous version"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := boot(t, tc.dir, nstest.Options{})
			args := []string{"swap", "-programs", "-"}
			if tc.file == "" {
				args = []string{"rollback", "-programs"}
			}
			before := s.one("service", "supervise")
			out, err := s.service(tc.file, args...)
			if err == nil || !strings.Contains(out, tc.want) {
				t.Errorf("%v:\n%s", err, out)
			}
			if now := s.one("service", "supervise"); now != before {
				t.Errorf("the supervisor was process %d and is %d", before, now)
			}
			if left, _ := filepath.Glob(filepath.Join(s.Root, "var/lib/keelson/programs/sha256-*")); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
			s.untouched()
			s.ends()
		})
	}
}

// A plan shows what the new programs answer, and changes nothing.
func TestPlan(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	s := boot(t, tree(t, k), nstest.Options{})
	out, err := s.service(artifact(t, k, whole(t, "second")), "swap", "-programs", "-plan", "-")
	if err != nil || !strings.Contains(out, "usr/bin/service: service second") && !strings.Contains(out, "second") || !strings.Contains(out, "usr/bin/runc: runc version") {
		t.Errorf("%v:\n%s", err, out)
	}
	t.Log(out)
	s.untouched()
	s.ends()
}
