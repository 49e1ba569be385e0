package image

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"keelson/runtime/security"
	"keelson/testvm/image/config"
	"keelson/testvm/image/source"
	"keelson/testvm/image/tree"
)

// plain has an image without settings for every reference.
type plain struct{ given }

func (plain) Image(context.Context, string) (*source.Image, error) {
	return &source.Image{Files: tree.New(), Config: v1.Config{}}, nil
}

// assessed returns the report of a service of a file.
func assessed(t *testing.T, doc *config.Document, i int, img config.Image) security.Report {
	t.Helper()
	a := newAssembler(doc, plain{}, expander("amd64", ""), func(name string) string { return name })
	field := fmt.Sprintf("services[%d]", i)
	spec, runtime, err := a.settings(t.Context(), field, img)
	if err != nil {
		t.Fatal(err)
	}
	a.assess(field, img.Name, spec, runtime)
	if len(a.services) != 1 {
		t.Fatalf("%s: %d reports", field, len(a.services))
	}
	return a.services[0]
}

// LinuxKit's defaults are for root without capabilities in the machine's network.
var ofDefaults = []string{
	"linux.readonlyPaths", "mounts sysfs:/sys", "process.user.uid", "linux.seccomp", "linux.namespaces network", "linux.maskedPaths",
	"process.noNewPrivileges", "linux.namespaces ipc", "root.readonly", "linux.resources.memory.limit", "linux.resources.pids.limit", "linux.namespaces uts",
}

// The findings of the examples' services, and what each advises: written into the YAML, it
// removes the finding and lowers the score.
func TestSecurityOfExamples(t *testing.T) {
	want := map[string]struct {
		rating   string
		findings []string // worst first; nil: not compared
	}{
		"minimal.yml hello": {"unsafe", ofDefaults},
		"demo.yml redis": {"exposed", []string{
			"linux.seccomp", "linux.namespaces network", "process.noNewPrivileges", "linux.namespaces ipc", "linux.readonlyPaths", "root.readonly",
			"linux.resources.memory.limit", "linux.resources.pids.limit", "linux.maskedPaths", "mounts /var/lib/data/redis:/data", "mounts sysfs:/sys", "linux.namespaces uts",
		}},
		"demo.yml shell":       {"like root", nil},
		"persistent.yml redis": {"exposed", nil},
		"podman.yml podman":    {"like root", nil},
	}
	for _, file := range []string{"demo.yml", "minimal.yml", "persistent.yml", "podman.yml"} {
		text, err := os.ReadFile(filepath.Join("../../examples", file))
		if err != nil {
			t.Fatal(err)
		}
		doc := parsed(t, file, text)
		for i, img := range doc.Config.Services {
			r := assessed(t, doc, i, img)
			w := want[file+" "+img.Name]
			if r.Rating != w.rating {
				t.Errorf("%s, %s: %.1f is %s, want %s", file, img.Name, r.Score, r.Rating, w.rating)
			}
			if got := namesOf(r); w.findings != nil && !slices.Equal(got, w.findings) {
				t.Errorf("%s, %s:\ngot  %q\nwant %q", file, img.Name, got, w.findings)
			}
			for _, f := range r.Findings {
				followAdvice(t, parsed(t, file, text), i, r, f)
			}
		}
	}
}

func parsed(t *testing.T, file string, text []byte) *config.Document {
	t.Helper()
	doc, err := config.Parse(file, text)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func namesOf(r security.Report) (names []string) {
	for _, f := range r.Findings {
		names = append(names, strings.TrimSpace(f.Field+" "+f.Item))
	}
	return names
}

// followAdvice adds the YAML that a finding advises, if it is not a comment.
func followAdvice(t *testing.T, doc *config.Document, i int, before security.Report, f security.Finding) {
	t.Helper()
	img := doc.Config.Services[i]
	if strings.HasPrefix(f.Advice, "#") {
		return
	}
	annotations := maps.Clone(img.Annotations)
	if err := yaml.UnmarshalWithOptions([]byte(f.Advice), &img.ImageConfig, yaml.Strict()); err != nil {
		t.Errorf("%s: %q is not YAML for a container: %v", img.Name, f.Advice, err)
		return
	}
	if annotations != nil { // The advice is one annotation more.
		maps.Copy(annotations, img.Annotations)
		img.Annotations = annotations
	}
	after := assessed(t, doc, i, img)
	if after.Score >= before.Score || slices.ContainsFunc(after.Findings, func(g security.Finding) bool { return g.Field == f.Field && g.Item == f.Item }) {
		t.Errorf("%s: %q leads from %v to %v, %q", img.Name, f.Advice, before.Score, after.Score, namesOf(after))
	}
}

// A service that follows all advice is isolated.
func TestIsolatedService(t *testing.T) {
	doc := parsed(t, "a.yml", []byte(`services: [{name: web, image: "example/web:v1", command: [/web]}]`))
	img := doc.Config.Services[0]
	r := assessed(t, doc, 0, img)
	if got := namesOf(r); !slices.Equal(got, ofDefaults) {
		t.Errorf("got  %q\nwant %q", got, ofDefaults)
	}
	var all []string
	limits := []string{"memory: {limit: 268435456}", "pids: {limit: 100}"}
	for _, f := range r.Findings {
		if !strings.HasPrefix(f.Advice, "resources:") {
			all = append(all, f.Advice)
		} else if !slices.ContainsFunc(limits, func(l string) bool { return strings.Contains(f.Advice, l) }) {
			t.Errorf("unexpected advice %q", f.Advice)
		}
	}
	all = append(all, "resources: {"+strings.Join(limits, ", ")+"}", "gid: 1000")
	if err := yaml.UnmarshalWithOptions([]byte(strings.Join(all, "\n")), &img.ImageConfig, yaml.Strict()); err != nil {
		t.Fatalf("%v\n%s", err, strings.Join(all, "\n"))
	}
	if r := assessed(t, doc, 0, img); r.Score != 0 {
		t.Errorf("%.1f with\n%s\nleft: %q", r.Score, strings.Join(all, "\n"), namesOf(r))
	}
}

// Check assesses the services whose image is on this host.
func TestCheckAssesses(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "good"), 0o755), os.WriteFile(filepath.Join(dir, "good/app"), []byte("ELF"), 0o755)); err != nil {
		t.Fatal(err)
	}
	r := Check(t.Context(), Options{File: filepath.Join(dir, "a.yml"), CacheDir: filepath.Join(dir, "cache"), YAML: []byte(`onboot:
  - {name: first, image: "dir:good", command: [/app]}
services:
  - {name: web, image: "dir:good", command: [/app]}
  - {name: away, image: "registry.example/b:v1"}
  - {name: rescue, image: "dir:good", command: [/sh], annotations: {keelson.role: rescue}}
  - {name: db, image: "dir:good", command: [/app], noNewPrivileges: true}
`)}, false)
	var names []string
	for _, s := range r.Services {
		names = append(names, s.Name)
	}
	if !slices.Equal(names, []string{"web", "db"}) {
		t.Errorf("assessed %q; problems %v", names, r.Problems)
	}
}

// The example of the document has no findings.
func TestDocumentedService(t *testing.T) {
	text, err := os.ReadFile("../../docs/security-of-services.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(text), "## Example\n")
	_, example, _ = strings.Cut(example, "```yaml\n")
	example, _, _ = strings.Cut(example, "```")
	doc := parsed(t, "example.yml", []byte(example))
	img := doc.Config.Services[0]
	img.Command = []string{"/web"}
	if r := assessed(t, doc, 0, img); len(r.Findings) > 0 {
		t.Errorf("%q", namesOf(r))
	}
}
