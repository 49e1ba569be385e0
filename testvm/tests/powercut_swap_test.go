package tests

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"keelson/testvm/image"
	"keelson/testvm/qemu"
	"keelson/testvm/vm/vmtest"
)

// imageVersion is the version of redis in the image; others are called by their digests.
const imageVersion = "image"

// stagingLasts is how much longer a swap takes that reads an artifact, in the time of an
// idle machine without KVM.
const stagingLasts = 8 * time.Second

// redisVersions are the versions of redis in a test of power cuts.
type redisVersions struct {
	dir      string            // folder for the image, with the artifacts
	files    map[string]string // artifacts in the machine, by version
	scores   map[string]string // oom_score_adj, by which a process shows its version
	may      []string          // versions that may run after the next boot
	current  string            // after the last boot
	previous string            // to which a rollback leads; empty: none
}

// makeRedisVersions makes two artifacts of redis of the changed example: one with layers, and one with an
// erofs image, which is so large that its digest is compared after the start.
func makeRedisVersions(t *testing.T, change ...string) redisVersions {
	t.Helper()
	file := filepath.Join(vmtest.Repository(t), "examples/persistent.yml")
	yaml, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	made := redisVersions{dir: t.TempDir(), files: map[string]string{}, scores: map[string]string{imageVersion: "0"}}
	for score, root := range map[string]string{"77": image.RootLayers, "78": image.RootErofs} {
		text := strings.NewReplacer(append(slices.Clone(change), "    net: host", "    net: host\n    oomScoreAdj: "+score,
			"keelson.restart: always", "keelson.restart: always\n      keelson.swap.probation: 500ms")...).Replace(string(yaml))
		name := "redis-" + score + ".tar.zst"
		if root == image.RootErofs { // Without compression, the version starts from this file.
			name = "redis-" + score + ".tar"
		}
		list, err := image.WriteArtifact(vmtest.Context(t), image.Options{YAML: []byte(text), File: file},
			image.Artifact{Service: "redis", Archs: []string{qemu.AMD64}, Root: root}, image.Target{Name: filepath.Join(made.dir, name)})
		if err != nil {
			t.Fatal(err)
		}
		made.files[list[0].Digest], made.scores[list[0].Digest] = "/"+name, score
	}
	return made
}

// read asks the supervisor which version is current, and which one was before.
func (r *redisVersions) read(ctx context.Context, v *vmtest.VM) error {
	out, err := v.Exec(ctx, "/usr/bin/service", "diff", "--json")
	if err == nil && out.Code != 0 {
		err = fmt.Errorf("service diff: %s", out.Stderr)
	}
	var changes []struct{ Name, Version, Previous string }
	if err == nil {
		err = json.Unmarshal([]byte(out.Stdout), &changes)
	}
	r.current, r.previous = imageVersion, ""
	for _, c := range changes {
		if c.Name == "redis" {
			r.previous = c.Previous
			if c.Version != "" {
				r.current = c.Version
			}
		}
	}
	return err
}

// check returns an error unless redis is one of the versions that it may be, and runs once,
// as that version. Until the supervisor has recorded the end of a swap that was interrupted,
// it waits.
func (r *redisVersions) check(t *testing.T, v *vmtest.VM) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(vmtest.Context(t), vmtest.Patience)
	defer cancel()
	for {
		_, err := v.ReadFile(ctx, "/var/lib/keelson/services/redis/trial.json")
		if err != nil && strings.Contains(err.Error(), "no such file") { // The agent returns errors as text.
			break
		}
		if ctx.Err() != nil {
			return fmt.Errorf("the record of an interrupted swap stays: %w", errors.Join(err, ctx.Err()))
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err := r.read(ctx, v); err != nil {
		return err
	}
	if !slices.Contains(r.may, r.current) {
		return fmt.Errorf("version %s of redis is current, want one of %q", r.current, r.may)
	}
	all, err := v.Client().Processes(ctx)
	if err != nil {
		return err
	}
	servers := map[int]bool{}
	for _, p := range all {
		servers[p.PID] = p.Name == "redis-server"
	}
	var scores []string
	for _, p := range all {
		if servers[p.PID] && !servers[p.PPID] { // A child rewrites the file of the data.
			scores = append(scores, strings.TrimSpace(v.File(fmt.Sprintf("/proc/%d/oom_score_adj", p.PID))))
		}
	}
	if want := []string{r.scores[r.current]}; !slices.Equal(scores, want) {
		return fmt.Errorf("redis runs with the oom_score_adj %q, want %q", scores, want)
	}
	r.may = []string{r.current}
	return nil
}

// swapRedis orders a swap of redis, or a rollback. It returns how long that lasts, and a
// function that waits for the end of the client.
func (r *cutter) swapRedis(v *vmtest.VM, lasts time.Duration) (longest time.Duration, ended func()) {
	r.Helper()
	command, next := []string{"/usr/bin/service", "rollback", "redis"}, r.redis.previous
	if next == "" || r.rng.IntN(3) == 0 {
		command, next = r.redis.artifact(r.rng.IntN(4) == 0)
		lasts += stagingLasts
	}
	r.redis.may = append(r.redis.may, next)
	ctx, cancel := context.WithCancel(vmtest.Context(r.T))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = v.Exec(ctx, command...)
	}()
	return lasts, func() { cancel(); <-done }
}

// artifact returns the command that swaps redis to a version that is not current. With force, the digest
// of its root is compared first.
func (r *redisVersions) artifact(force bool) (command []string, version string) {
	for _, version = range slices.Sorted(maps.Keys(r.files)) {
		if version != r.current {
			break
		}
	}
	command = []string{"/usr/bin/service", "swap", "redis", r.files[version]}
	if force {
		command = slices.Insert(command, 2, "-f")
	}
	return command, version
}
