package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keelson/testvm/image"
	"keelson/testvm/image/signing"
	"keelson/testvm/nstest"
	"keelson/testvm/tier"
)

// programsArtifact is an artifact of keelson's own programs in the system.
const programsArtifact = artifactDir + "/programs.tar.zst"

// ownPrograms are the files of that artifact, those of the guest.
var ownPrograms = []string{"usr/bin/service", "usr/bin/containerd", "usr/bin/ctr", "usr/bin/containerd-shim-runc-v2"}

// putPrograms adds the artifact to files of the image. It returns the policy that allows its key.
func putPrograms(t *testing.T, files map[string]string) (policy string) {
	t.Helper()
	tier.Tool(t, "minisign", "minisign")
	dir := t.TempDir()
	public, secret, root, file := filepath.Join(dir, "key.pub"), filepath.Join(dir, "key"), filepath.Join(dir, "root"), filepath.Join(dir, "programs.tar.zst")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("minisign", "-G", "-W", "-p", public, "-s", secret).CombinedOutput(); err != nil {
		t.Fatalf("minisign: %v: %s", err, out)
	}
	for _, name := range ownPrograms {
		from, to := nstest.Guest(t, name), filepath.Join(root, name)
		must(os.MkdirAll(filepath.Dir(to), 0o755))
		if link, err := os.Readlink(from); err == nil {
			must(os.Symlink(link, to))
			continue
		}
		data, err := os.ReadFile(from)
		must(err)
		must(os.WriteFile(to, data, 0o755))
	}
	_, err := image.WritePrograms([]string{root}, time.Time{}, image.Target{Name: file})
	must(err)
	key, err := signing.LoadKey(secret, func() (string, error) { return "", nil })
	must(err)
	_, err = signing.Sign(file, key)
	must(err)
	data, err := os.ReadFile(file)
	must(err)
	files[programsArtifact] = string(data)
	text, err := os.ReadFile(public)
	must(err)
	return "keys: {test: " + strings.Split(string(text), "\n")[1] + "}\nprograms: {allow: [swap, rollback], signed-by: [test]}\n"
}

// swapPrograms swaps keelson's own programs, or rolls them back. Most of the time, what takes part is
// killed meanwhile.
func (r *run) swapPrograms() string {
	args := []string{"swap", "-f", "-programs", "-probation", "500ms", programsArtifact}
	if r.rng.IntN(3) == 0 {
		args = []string{"rollback", "-programs", "-probation", "500ms"}
	}
	what := strings.Join(args, " ")
	r.inBackground(func() {
		for range 20 { // The supervisor is often being started again.
			_, err := r.service(args...)
			if errors.Is(err, context.DeadlineExceeded) {
				r.hung.Store(&what)
			}
			if err == nil || !strings.Contains(err.Error(), "cannot reach the supervisor") && !strings.Contains(err.Error(), "containerd does not answer yet") {
				return
			}
			time.Sleep(settlePoll * r.slow())
		}
	})
	kills := ""
	for _, victim := range []func() []int{r.supervisor, r.containerd} {
		if r.rng.IntN(2) == 0 {
			after := r.upTo(2 * time.Second)
			r.inBackground(func() { time.Sleep(after); r.kills(victim()) })
			kills += ", killed after " + after.String()
		}
	}
	return what + kills
}

// otherPrograms returns a problem unless no trial is left, and supervisor and containerd execute the
// programs at their paths, which are those of the current version.
func (r *run) otherPrograms() string {
	out, err := r.sh(`for f in /var/lib/keelson/programs/trial.json /run/keelson/programs/trial; do if [ -e $f ]; then echo $f exists; fi; done
		want=image; if [ -L /var/lib/keelson/programs/current ]; then want=$(busybox readlink /var/lib/keelson/programs/current); fi
		used=image; if [ -e /run/keelson/programs/used ]; then used=$(busybox cat /run/keelson/programs/used); fi
		[ "$used" = "$want" ] || echo "$used is in use, $want is current"
		[ $want = image ] && mounted=0 || mounted=1
		[ $(busybox grep -c ' /usr/bin overlay ' /proc/1/mounts) = $mounted ] || echo "$want: $(busybox grep ' /usr' /proc/1/mounts)"
		for p in $1; do
			[ "$(busybox stat -L -c %d:%i /proc/$p/exe)" = "$(busybox stat -L -c %d:%i /usr/bin/service)" ] || echo "process $p executes $(busybox readlink /proc/$p/exe)"
		done`, strings.Trim(fmt.Sprint(append(r.supervisor(), r.containerd()...)), "[]"))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(out)
}
