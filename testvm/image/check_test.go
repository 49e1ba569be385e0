package image

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func checked(t *testing.T, text string) (problems, notChecked []string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "good"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "good/app"), []byte("ELF"), 0o755); err != nil {
		t.Fatal(err)
	}
	r := Check(t.Context(), Options{YAML: []byte(text), File: filepath.Join(dir, "a.yml"), CacheDir: filepath.Join(dir, "cache")}, false)
	lines := func(errs []error) (all []string) {
		for _, err := range errs {
			line, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), dir+"/"), "\n")
			all = append(all, line)
		}
		return all
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("files were written: %v, %v", left, err)
	}
	return lines(r.Problems), lines(r.NotChecked)
}

// Every problem is reported with its line; an image that is not on this host is not a
// problem.
func TestCheck(t *testing.T) {
	problems, notChecked := checked(t, `kernel:
  image: deb:linux-image-cloud-amd64
init: ["dir:none", "registry.example/init:v1"]
services:
  - {name: a, image: "dir:good"}
  - {name: b, image: "registry.example/b:v1", userns: new}
  - name: c
    image: deb:busybox-static
    command: [/bin/busybox]
    userns: new
    net: new
  - {name: d, image: "dir:good", command: [/app], hostname: mine}
files:
  - {path: etc/x, source: none.conf}
  - {path: etc/y, contents: y}
  - {path: etc/keelson/swap.yml, contents: "defaults: {}"}
  - {path: etc/netcfg.yml, contents: "network: {ethernets: {eth0: {dhcp: true}}}"}
volumes:
  - {name: v, image: "registry.example/v:v1", format: oci}
`)
	wantStarts(t, problems, []string{
		"a.yml:3: init[0]: cannot find image dir:none", "a.yml:5: services[0].command: ", "a.yml:10: services[2].userns: ",
		"a.yml:12: services[3].hostname: ", "a.yml:14: files[0]: ",
		"a.yml:16: files[2]: /etc/keelson/swap.yml: line 1: unknown key defaults",
		"a.yml:17: files[3]: /etc/netcfg.yml:1: ethernets.eth0.dhcp: there is no such field",
	})
	wantStarts(t, notChecked, []string{
		"a.yml:2: kernel.image: is not on this host", "a.yml:3: init[1]: is not on this host", "a.yml:19: volumes[0].image: is not", "a.yml:6: services[1].image: is not",
	})
}

// Mistakes that can be found without images are reported together too.
func TestCheckFirst(t *testing.T) {
	problems, notChecked := checked(t, `kernel: {cmdline: x, binary: y}
services:
  - {name: "a b", image: x}
  - {name: c}
  - {name: d, image: x}
  - {name: d, image: x}
volumes: [{name: V}]
files:
  - {path: dev/x, contents: x}
  - {path: etc/x}
`)
	wantStarts(t, problems, []string{
		"a.yml:1: kernel: image is missing", "a.yml:3: services[0].name: ", "a.yml:4: services[1]: image is missing", "a.yml:6: services[3].name: two services",
		"a.yml:7: volumes[0].name: ", "a.yml:9: files[0].path: ", "a.yml:10: files[1]: one of contents",
	})
	if len(notChecked) > 0 {
		t.Errorf("not checked: %q", notChecked)
	}
	if problems, _ := checked(t, "services: [{named: x}]"); len(problems) != 1 || !strings.Contains(problems[0], "a.yml:1: ") {
		t.Errorf("an unknown key: %q", problems)
	}
}

func TestCheckGood(t *testing.T) {
	problems, notChecked := checked(t, `services: [{name: a, image: "dir:good", command: [/app]}]`)
	if len(problems)+len(notChecked) > 0 {
		t.Errorf("problems %q, not checked %q", problems, notChecked)
	}
}

func wantStarts(t *testing.T, got, want []string) {
	t.Helper()
	same := len(got) == len(want)
	for i := range min(len(got), len(want)) {
		same = same && strings.HasPrefix(got[i], want[i])
	}
	if !same {
		t.Error(cmp.Diff(want, got))
	}
}
