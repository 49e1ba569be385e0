package candidate

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keelson/runtime/artifact"
	"keelson/services/control"
	"keelson/services/versions"
)

const config = `{"process":{"args":[%q],"cwd":"/"},"root":{"path":"rootfs"}}`

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// newFinder returns a Finder for an image with the service web. An artifact is the command of
// its service.
func newFinder(t *testing.T) *Finder {
	t.Helper()
	dir := t.TempDir()
	put(t, filepath.Join(dir, "services/web/config.json"), fmt.Sprintf(config, "image"))
	put(t, filepath.Join(dir, "swap.yml"), "services: [{name: fixed, allow: [remove]}, {name: '*', allow: [swap, add, remove, rollback], signed-by: [], gain: ['*']}]")
	return New(Options{
		Dir: filepath.Join(dir, "services"), Policy: filepath.Join(dir, "swap.yml"), Versions: versions.New(filepath.Join(dir, "versions")),
		Stage: func(_ context.Context, staged string, r io.Reader, _ Staging) (artifact.Meta, error) {
			text, err := io.ReadAll(r)
			meta := artifact.Meta{Digest: fmt.Sprintf("sha256:%x", sha256.Sum256(text)), Architecture: "amd64", Programs: string(text) == "programs"}
			known, jsonErr := json.Marshal(meta)
			return meta, errors.Join(err, jsonErr,
				os.WriteFile(filepath.Join(staged, artifact.File), known, 0o600),
				os.WriteFile(filepath.Join(staged, "config.json"), fmt.Appendf(nil, config, text), 0o600))
		},
		Persist: func(_ string, change func() error) error { return change() },
	})
}

// find finds a candidate; an order is a verb, and the artifact of a swap.
func (f *Finder) find(t *testing.T, name, order string) (*Candidate, error) {
	t.Helper()
	verb, text, _ := strings.Cut(order, " ")
	return f.Find(t.Context(), control.Request{Verb: verb, Names: []string{name}, Body: strings.NewReader(text)}, name, func(string) {})
}

// commit makes a candidate the current version.
func (f *Finder) commit(t *testing.T, c *Candidate) {
	t.Helper()
	if err := errors.Join(f.Versions.Begin(c.Name, c.Next, true, nil, versions.Record{At: time.Unix(1, 0), By: "test"}), f.Versions.Commit(c.Name)); err != nil {
		t.Fatal(err)
	}
}

func TestFind(t *testing.T) {
	f := newFinder(t)
	for _, step := range []struct{ name, order, want string }{
		{"web", "rollback", "it has no previous version"},
		{"none", "remove", "no such service"},
		{"web", "swap programs", "service swap -programs takes it"},
		{"fixed", "swap one", "swap.yml"},
		{"web", "swap one", ""},
		{"web", "swap one", "is current"},
		{"web", "rollback", ""}, // to the image
		{"web", "rollback", ""}, // to one
		{"web", "remove", ""},
		{"web", "remove", "no such service"},
		{"new", "swap one", ""},
		{"new", "rollback", ""}, // The image has none: it is removed.
	} {
		c, err := f.find(t, step.name, step.order)
		if step.want == "" && err == nil {
			err = f.Check(strings.Fields(step.order)[0], c)
		}
		switch {
		case step.want == "" && err != nil, step.want != "" && (err == nil || !strings.Contains(err.Error(), step.want)):
			t.Errorf("%s of %s: %v, want %q", step.order, step.name, err, step.want)
		case err == nil:
			f.commit(t, c)
		}
	}
	all, err := f.Differences()
	if err != nil || len(all) != 2 || all[0].Name != "new" || all[0].Change != "removed" || all[1].Name != "web" || all[1].Change != "removed" || all[1].By != "test" {
		t.Errorf("differences %+v, %v", all, err)
	}
	for _, dir := range []string{"fixed", "none"} {
		if left, err := os.ReadDir(filepath.Join(filepath.Dir(f.Dir), "versions", dir)); err == nil {
			t.Errorf("%s has %v", dir, left)
		}
	}
}

func TestPlan(t *testing.T) {
	f := newFinder(t)
	c, err := f.find(t, "web", "swap other")
	if err != nil {
		t.Fatal(err)
	}
	lines, err := f.Plan(c)
	if text := strings.Join(lines, "\n"); err != nil || !strings.Contains(text, "process.args") || !strings.Contains(text, "other") {
		t.Errorf("%s, %v", text, err)
	}
	if err := f.Drop(c); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(f.Folder("web", c.Next)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the version of a plan is left: %v", err)
	}
}

// One artifact is read at a time.
func TestReadsOne(t *testing.T) {
	f := newFinder(t)
	stage := f.Stage
	f.Stage = func(ctx context.Context, dir string, r io.Reader, o Staging) (artifact.Meta, error) {
		if _, err := f.find(t, "new", "swap two"); err == nil || !strings.Contains(err.Error(), "another artifact is being read") {
			t.Errorf("a second artifact: %v", err)
		}
		return stage(ctx, dir, r, o)
	}
	if _, err := f.find(t, "web", "swap one"); err != nil {
		t.Error(err)
	}
	f.Stage = stage
	if _, err := f.find(t, "new", "swap two"); err != nil {
		t.Error(err)
	}
}

// The record of a swap that ended without one is removed, and the next one can begin.
func TestAbandoned(t *testing.T) {
	f := newFinder(t)
	c, err := f.find(t, "web", "swap one")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Versions.Begin("web", c.Next, true, nil, versions.Record{}); err != nil {
		t.Fatal(err)
	}
	if c, err = f.find(t, "web", "swap two"); err != nil || c.Old != versions.Image {
		t.Fatalf("%+v, %v", c, err)
	}
	if state, err := f.Versions.Read("web"); err != nil || state.Trial != nil {
		t.Errorf("%+v, %v", state, err)
	}
}

// An artifact of which the supervisor has no file is copied first.
func TestOriginNeedsFile(t *testing.T) {
	if o, err := newOrigin(io.LimitReader(strings.NewReader("x"), 1), artifact.Place{}); err == nil {
		t.Errorf("the origin is %+v", o)
	}
}
