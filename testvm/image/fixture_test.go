package image

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"keelson/runtime/bundle"
	"keelson/runtime/imageconfig"
	"keelson/testvm/image/config"
	"keelson/testvm/image/source"
	"keelson/testvm/image/tree"
)

// svcLabel is the label of example/svc:v1. The reference data's README says the
// image had none, but the CLI has no default capabilities or binds (see
// ConfigToOCI in its moby/config.go: without a label both lists are empty), and
// just this label explains every container of the reference: CAP_NET_ADMIN
// where the YAML gives no capabilities, /etc/resolv.conf where it gives no binds.
const svcLabel = `{"binds": ["/etc/resolv.conf:/etc/resolv.conf"], "capabilities": ["CAP_NET_ADMIN"]}`

// differences are the entries that deliberately differ from those of the CLI.
var differences = map[string]struct{ cli, ours, why string }{
	"etc": {"d 0700 0:0", "d 0755 0:0",
		"the CLI gives a directory that exists the mode derived from a file put into it (0600 → 0700), " +
			"so that only root can use /etc; here a directory that exists keeps its mode"},
}

// given are images that a test makes.
type given map[string]*source.Image

func (g given) Image(_ context.Context, ref string) (*source.Image, error) {
	if img := g[ref]; img != nil {
		return img, nil
	}
	return nil, fmt.Errorf("cannot find image %s", ref)
}

func (g given) Layout(_ context.Context, ref string, _ []string) (*tree.Tree, error) {
	return nil, fmt.Errorf("cannot find image %s", ref)
}

func program(t *testing.T, path string, labels map[string]string) *source.Image {
	t.Helper()
	files := tree.New()
	if err := files.Put(tree.Entry{Path: path, Type: tree.File, Mode: 0o755, Data: []byte("ELF")}); err != nil {
		t.Fatal(err)
	}
	return &source.Image{Files: files, Config: v1.Config{Labels: labels}}
}

func assemble(t *testing.T, file string, src []byte, imgs images) (*assembler, error) {
	t.Helper()
	doc, err := config.Parse(file, src)
	if err != nil {
		return nil, err
	}
	a := newAssembler(doc, imgs, expander("amd64", ""), func(name string) string { return filepath.Join(filepath.Dir(file), name) })
	return a, a.assemble(t.Context())
}

func rich(t *testing.T, label string) *tree.Tree {
	t.Helper()
	src, err := os.ReadFile("testdata/linuxkit-cli/rich.yml")
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{}
	if label != "" {
		labels[imageconfig.Label] = label
	}
	a, err := assemble(t, "rich.yml", src, given{
		"example/init:v1": program(t, "init", nil),
		"example/svc:v1":  program(t, "app", labels),
	})
	if err != nil {
		t.Fatal(err)
	}
	return a.root
}

// TestSameTreeAsCLI compares type, mode, owner and target of every entry.
func TestSameTreeAsCLI(t *testing.T) {
	text, err := os.ReadFile("testdata/linuxkit-cli/tree.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{} // the last entry of a path counts
	for line := range strings.Lines(string(text)) {
		f := strings.SplitN(strings.TrimSpace(line), " ", 4)
		name, target, _ := strings.Cut(f[3], " -> ")
		want[name] = strings.TrimSpace(strings.Join(f[:3], " ") + " " + target)
	}
	for name, d := range differences {
		if want[name] != d.cli {
			t.Errorf("%s: the CLI makes %s, the list of differences says %s", name, want[name], d.cli)
		}
		want[name] = d.ours
	}
	got := map[string]string{}
	for _, e := range rich(t, svcLabel).Entries() {
		got[e.Path] = strings.TrimSpace(fmt.Sprintf("%c %04o %d:%d %s", e.Type, e.Mode, e.UID, e.GID, e.Link))
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestSameFilesAsCLI compares the generated files: JSON by meaning, the rest by byte.
func TestSameFilesAsCLI(t *testing.T) {
	root := rich(t, svcLabel)
	dir := "testdata/linuxkit-cli/root"
	compared := 0
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		want, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		e, ok := root.Get(rel)
		switch {
		case !ok:
			t.Errorf("%s is missing", rel)
		case strings.HasSuffix(rel, ".json"):
			if d := cmp.Diff(meaning(t, want), withoutKept(meaning(t, e.Data))); d != "" {
				t.Errorf("%s: %s", rel, d)
			}
		case !bytes.Equal(want, e.Data):
			t.Errorf("%s: got %q, want %q", rel, e.Data, want)
		}
		compared++
		return nil
	})
	if err != nil || compared < 12 {
		t.Errorf("compared %d files: %v", compared, err)
	}
}

// withoutKept removes the annotation that only this builder writes.
func withoutKept(v any) any {
	if config, ok := v.(map[string]any); ok {
		if annotations, ok := config["annotations"].(map[string]any); ok {
			if delete(annotations, bundle.SwapKeepKey); len(annotations) == 0 {
				delete(config, "annotations")
			}
		}
	}
	return v
}

func meaning(t *testing.T, b []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestWithoutLabel checks that the settings of svcLabel come only from the label.
func TestWithoutLabel(t *testing.T) {
	root := rich(t, "")
	for _, name := range []string{"onboot/002-first-user", "onshutdown/000-bye"} {
		e, _ := root.Get("containers/" + name + "/config.json")
		if bytes.Contains(e.Data, []byte("CAP_")) || bytes.Contains(e.Data, []byte("resolv.conf")) {
			t.Errorf("%s: an image with no label got capabilities or binds: %s", name, e.Data)
		}
	}
}

// A container's cgroup may come from its image's label.
func TestCgroupOfAnother(t *testing.T) {
	label := map[string]string{imageconfig.Label: `{"cgroupsPath": "/pods"}`}
	images := given{"example/pods": program(t, "pods", label), "example/svc": program(t, "app", nil)}
	for _, tt := range []struct{ yaml, at, want string }{
		{
			"services:\n  - {name: a, image: example/pods, command: [/x]}\n  - {name: b, image: example/svc, command: [/x]}\n  - {name: c, image: example/pods, command: [/x]}\n",
			"pods.yml:4: services[2]", "services a and c share the cgroup /pods",
		},
		{
			"onshutdown:\n  - {name: a, image: example/pods, command: [/x]}\nservices:\n  - {name: b, image: example/svc, command: [/x], cgroupsPath: /pods/b}\n",
			"pods.yml:4: services[0]", "onshutdown 000-a has the cgroup /pods, service b has /pods/b",
		},
		{"onboot:\n  - {name: a, image: example/pods, command: [/x]}\nservices:\n  - {name: b, image: example/pods, command: [/x]}\n", "", ""},
	} {
		_, err := assemble(t, "pods.yml", []byte(tt.yaml), images)
		if got := fmt.Sprint(err); (err != nil) != (tt.want != "") || err != nil && !strings.Contains(got, tt.at) || err != nil && !strings.Contains(got, tt.want) {
			t.Errorf("%s%v, want %s: %s", tt.yaml, err, tt.at, tt.want)
		}
	}
}
