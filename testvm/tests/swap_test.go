package tests

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"keelson/runtime/timeline"
	"keelson/testvm/image"
	"keelson/testvm/image/progress"
	"keelson/testvm/qemu"
	"keelson/testvm/tier"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

// swapImage has redis, and a disk on /var.
const swapImage = `
onboot:
  VARDISK
services:
  AGENT
  - name: redis
` + redisFields

// redisFields are the fields of service redis, to be completed.
const redisFields = `    image: deb:redis-server
    command: ["/usr/bin/redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", ""]
    net: host
    annotations: {keelson.ready: "tcp:6379", keelson.swap.probation: 2s}
`

// redisArtifact writes an artifact of redis with changed lines: pairs of old and new ones.
func redisArtifact(t *testing.T, root string, changes ...string) (data []byte, digest string) {
	t.Helper()
	yaml := "services:\n  - name: redis\n" + strings.NewReplacer(changes...).Replace(redisFields)
	out := filepath.Join(t.TempDir(), "redis.tar.zst")
	made, err := image.WriteArtifact(vmtest.Context(t), image.Options{YAML: []byte(yaml), File: "redis.yml"},
		image.Artifact{Service: "redis", Archs: []string{qemu.AMD64}, Root: root}, image.Target{Name: out})
	if err != nil {
		t.Fatal(err)
	}
	if data, err = os.ReadFile(out); err != nil {
		t.Fatal(err)
	}
	return data, made[0].Digest
}

// swapper swaps redis in a machine.
type swapper struct {
	*testing.T
	*vmtest.VM
}

// service runs a command of service. With an empty reason it must succeed, else it must
// fail for that reason.
func (s swapper) service(reason string, args ...string) string {
	s.Helper()
	r, err := s.Exec(vmtest.Context(s.T), append([]string{"/usr/bin/service"}, args...)...)
	if err != nil {
		s.Fatal(err)
	}
	if (r.Code == 0) != (reason == "") || !strings.Contains(r.Stderr, reason) {
		s.Fatalf("service %q ended with code %d: %s%s, want %q", args, r.Code, r.Stdout, r.Stderr, reason)
	}
	return r.Stdout
}

// put writes a file of the machine.
func (s swapper) put(path string, data []byte) {
	s.Helper()
	if err := s.Client().WriteFile(vmtest.Context(s.T), path, data, 0o600); err != nil {
		s.Fatal(err)
	}
}

// runs compares the oom_score_adj of redis, which differs between versions, and what
// differs from the image: empty for nothing.
func (s swapper) runs(score, change string) {
	s.Helper()
	until(s.T, func() string { // The next supervisor may still be restoring it.
		r, err := s.Exec(vmtest.Context(s.T), "/usr/bin/service", "status", "redis")
		if err != nil || r.Code != 0 {
			return fmt.Sprintf("redis does not run: %s%s (%v)", r.Stdout, r.Stderr, err)
		}
		return ""
	})
	all, err := s.Client().Processes(vmtest.Context(s.T))
	if err != nil {
		s.Fatal(err)
	}
	found := 0
	for _, p := range all {
		if p.Name != "redis-server" {
			continue
		}
		found++
		if got := strings.TrimSpace(s.File(fmt.Sprintf("/proc/%d/oom_score_adj", p.PID))); got != score {
			s.Errorf("redis has the oom_score_adj %s, want %s", got, score)
		}
	}
	if found != 1 {
		s.Errorf("redis runs %d times", found)
	}
	var changes []struct{ Name, Change, By string }
	if err := json.Unmarshal([]byte(s.service("", "diff", "--json")), &changes); err != nil {
		s.Fatal(err)
	}
	got := ""
	for _, c := range changes {
		got += c.Name + " " + c.Change
		if !strings.Contains(c.By, "user 0") {
			s.Errorf("the change was ordered by %q", c.By)
		}
	}
	if got != change {
		s.Errorf("the machine differs by %q, want %q", got, change)
	}
}

// redis is swapped, also over a reboot. Versions that fail, archives that are damaged, and
// a supervisor that is killed leave the version before. Roots are layers and erofs images, also
// of two versions at the same time; a kernel that cannot mount images gets layers.
func TestSwap(t *testing.T) {
	t.Parallel()
	good, _ := redisArtifact(t, image.RootBoth, "net: host", "net: host\n    oomScoreAdj: 77")
	erofs, _ := redisArtifact(t, image.RootErofs, "net: host", "net: host\n    readonly: true\n    oomScoreAdj: 78",
		"probation: 2s", "probation: 2s, keelson.userns: auto")
	bad, _ := redisArtifact(t, image.RootErofs, `""]`, `"", "--no-such-option"]`)
	another, _ := redisArtifact(t, image.RootErofs, "net: host", "net: host\n    oomScoreAdj: 79")
	fresh, _ := redisArtifact(t, image.RootErofs, "net: host", "net: host\n    oomScoreAdj: 80")
	slow, slowDigest := redisArtifact(t, image.RootErofs, `""]`, `"", "--port", "6380"]`, "tcp:6379", "tcp:6380",
		"probation: 2s", "probation: 1h, keelson.swap: overlap, keelson.userns: auto")
	dir := t.TempDir()
	// Nothing reads the superblock, so that only the digest shows the first damage. The second one
	// is found when redis is started.
	unseen := damaged(t, erofs, func(image []byte, superblock int) { image[superblock+16]++ })
	broken := damaged(t, another, func(image []byte, superblock int) { clear(image[superblock/8 : superblock]) })
	slow = damaged(t, slow, func([]byte, int) {}) // An archive without compression is used in place.
	for name, data := range map[string][]byte{"unseen": unseen, "broken": broken, "good": good, "erofs": erofs, "bad": bad, "cut": good[:len(good)/2], "slow": slow} {
		put(t, filepath.Join(dir, "artifacts", name), data, 0o644)
	}
	everything := os.Getenv(tier.Everything) == "1"
	const goodTar, erofsTar, badTar, cutTar, slowTar = "/artifacts/good", "/artifacts/erofs", "/artifacts/bad", "/artifacts/cut", "/artifacts/slow"
	c := machine(t, build(t, "swap", swapImage, dir))
	c.Disks = []qemu.Disk{{Path: filepath.Join(t.TempDir(), "var.img"), Size: 512 << 20}}
	s := swapper{t, vmtest.Boot(t, c)}
	s.Stage(timeline.Ready)
	s.runs("0", "")

	const modprobe = "/proc/sys/kernel/modprobe"
	helper := s.File(modprobe)
	s.put(modprobe, []byte("/nothing")) // The kernel has no module of device-mapper, loop and erofs.
	s.service("cannot read the artifact", "swap", "redis", cutTar)
	s.service("no such service", "remove", "nothing")
	s.service("the policy does not allow", "swap", "other", goodTar)
	s.service("the policy does not allow", "remove", "redis")
	s.runs("0", "")

	s.service("the kernel has no device-mapper (CONFIG_BLK_DEV_DM): no such device; use an artifact made with keelson bundle --root layers or both",
		"swap", "redis", erofsTar)
	out := s.service("", "swap", "redis", goodTar)
	for _, want := range []string{"probation of 2s", "the root is unpacked, not mounted as an erofs image: the kernel has no device-mapper"} {
		if !strings.Contains(out, want) {
			t.Errorf("the swap showed %q, want %q", out, want)
		}
	}
	s.put(modprobe, []byte(helper))
	s.runs("77", "redis swapped")
	s.service("exited 1", "swap", "redis", badTar)
	s.runs("77", "redis swapped")
	if everything { // services/supervisor has tests of these, too.
		s.service("is current", "swap", "redis", goodTar)
		s.service("failed before", "swap", "redis", badTar)
	}
	s.hasImages(0)

	s.service("", "rollback", "redis")
	s.runs("0", "redis reverted")
	s.service("root.erofs has the digest", "swap", "redis", "/artifacts/unseen")
	s.runs("0", "redis reverted")
	s.hasImages(0)
	s.swapInPlace(damaged(t, fresh, func([]byte, int) {}))
	s.runs("80", "redis swapped")
	s.service("", "rollback", "redis")
	s.runs("0", "redis reverted")
	s.hasImages(0)
	s.service("failed before: root.erofs has the digest", "swap", "redis", erofsTar)
	s.service("has another digest", "swap", "-f", "redis", "/artifacts/unseen")
	s.service("", "swap", "-f", "redis", erofsTar)
	s.runs("78", "redis swapped")
	s.hasImages(1)
	s.service("is restored and running", "swap", "redis", "/artifacts/broken")
	s.hasImages(1)
	s.killInSwap(slowTar, slowDigest, 2)
	s.hasImages(1)
	s.runs("78", "redis swapped")

	s.SignalInit(sigTERM)
	s.Exit(vm.Rebooted)
	s.VM = vmtest.Boot(t, c)
	s.Stage(timeline.Ready)
	s.runs("78", "redis swapped")
	s.hasImages(1)

	s.damageImage()
	s.service("", "rollback", "redis")
	s.runs("0", "redis reverted")
	s.hasImages(0)
	if everything {
		s.killInSwap(slowTar, slowDigest, 1)
		s.hasImages(0)
		s.runs("0", "redis reverted")
	}
	s.toImage()
}

// toImage swaps redis for a plain container image that was pulled from a registry. The command
// is that of the YAML, the environment that of the image.
func (s swapper) toImage() {
	s.Helper()
	const tarFile = "/run/image.tar"
	s.put(tarFile, redisImage(s.T))
	if out := s.service("", "swap", "-plan", "redis", tarFile); !strings.Contains(out, "process.env[FROM]") || strings.Contains(out, "process.args") {
		s.Errorf("the plan is %q", out)
	}
	s.service("", "swap", "redis", tarFile)
	s.runs("0", "redis swapped")
	if out := s.service("", "diff"); !strings.Contains(out, " (v1) ") {
		s.Errorf("the image has no name in %q", out)
	}
	// redis writes its title over its environment in /proc.
	if config := s.File("/var/lib/keelson/services/redis/current/config.json"); !strings.Contains(config, `"FROM=image"`) {
		s.Errorf("the version of the image has the configuration %s", config)
	}
}

// redisImage pulls a container image with the files of redis from a registry of its own.
func redisImage(t *testing.T) []byte {
	t.Helper()
	dir, out := filepath.Join(t.TempDir(), "layout"), filepath.Join(t.TempDir(), "image.tar")
	_, err := image.WriteArtifact(vmtest.Context(t), image.Options{YAML: []byte("services:\n  - name: redis\n" + redisFields), File: "redis.yml"},
		image.Artifact{Service: "redis", Archs: []string{qemu.AMD64}}, image.Target{Name: dir})
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(err)
	index, err := layout.ImageIndexFromPath(dir)
	check(err)
	listed, err := index.IndexManifest()
	check(err)
	artifact, err := index.Image(listed.Manifests[0].Digest)
	check(err)
	manifest, err := artifact.Manifest()
	check(err)
	root, err := artifact.LayerByDigest(manifest.Layers[1].Digest)
	check(err)
	plain, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1), root)
	check(err)
	file, err := plain.ConfigFile()
	check(err)
	file.OS, file.Architecture = "linux", qemu.AMD64
	file.Config = v1.Config{Cmd: []string{"/bin/false"}, Env: []string{"FROM=image"}}
	plain, err = mutate.ConfigFile(plain, file)
	check(err)
	plain = mutate.ConfigMediaType(plain, types.OCIConfigJSON)

	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	ref, err := name.ParseReference(strings.TrimPrefix(server.URL, "http://") + "/redis:v1")
	check(err)
	check(remote.Write(ref, plain))
	_, err = image.Pull(vmtest.Context(t), ref.Name(), []string{qemu.AMD64}, image.Target{Name: out}, progress.Discard)
	check(err)
	data, err := os.ReadFile(out)
	check(err)
	return data
}
