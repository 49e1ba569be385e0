package image

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"keelson/runtime/bundle"
	"keelson/runtime/imageconfig"
	"keelson/testvm/image/ocispec"
	"keelson/testvm/image/tree"
	"keelson/testvm/nstest"
	"keelson/testvm/tier"
)

// A bundle has the configuration and the files that an image has for that container.
func TestBundleIsThatOfAnImage(t *testing.T) {
	src := read(t, "testdata/linuxkit-cli/rich.yml")
	images := given{"example/init:v1": program(t, "init", nil),
		"example/svc:v1": program(t, "app", map[string]string{imageconfig.Label: svcLabel})}
	a, err := assemble(t, "rich.yml", src, images)
	if err != nil {
		t.Fatal(err)
	}
	all := containers(&a.doc.Config)
	if len(all) != 6 {
		t.Fatalf("there are %d containers", len(all))
	}
	for _, c := range all {
		got, err := a.bundle(t.Context(), c.field, c.image)
		if err != nil {
			t.Fatal(err)
		}
		dir := "containers/" + c.folder
		want, have := runtimeOf(t, a.root, dir), runtimeOf(t, got, "")
		rootMounts := len(ocispec.RootMounts("", "", c.image.Readonly != nil && *c.image.Readonly))
		lower := want.Mounts[rootMounts-1].Source // of the bind
		if rootMounts > 1 {
			lower = strings.TrimPrefix(want.Mounts[rootMounts-1].Options[0], "lowerdir=")
		}
		want.Mounts = want.Mounts[rootMounts:]
		if d := cmp.Diff(want, have); d != "" {
			t.Errorf("%s: runtime.json: %s", c.folder, d)
		}
		if d := cmp.Diff(content(t, a.root, dir+"/config.json"), content(t, got, "config.json")); d != "" {
			t.Errorf("%s: config.json: %s", c.folder, d)
		}
		files := below(got, "rootfs")
		if d := cmp.Diff(below(a.root, tree.Clean(lower)), files); d != "" || len(files) < 5 {
			t.Errorf("%s: %d files: %s", c.folder, len(files), d)
		}
	}
}

func content(t *testing.T, files *tree.Tree, name string) string {
	t.Helper()
	e, ok := files.Get(name)
	if !ok {
		t.Fatalf("%s is missing", name)
	}
	return string(e.Data)
}

func runtimeOf(t *testing.T, files *tree.Tree, dir string) (r bundle.Runtime) {
	t.Helper()
	if err := json.Unmarshal([]byte(content(t, files, filepath.Join(dir, bundle.RuntimeFile))), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// below returns the entries below dir, by path from there.
func below(files *tree.Tree, dir string) map[string]tree.Entry {
	found := map[string]tree.Entry{}
	for _, e := range files.Entries() {
		if name, ok := strings.CutPrefix(e.Path, dir+"/"); ok {
			e.Path = name
			found[name] = e
		}
	}
	return found
}

// Containers are selected by name; a bundle that cannot be written leaves no files.
func TestWriteBundle(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	project(t, dir)
	write := func(container, to string) error {
		return WriteBundle(t.Context(), Options{YAML: []byte(buildYAML + "onshutdown: [{name: third, image: \"oci:layout\"}]\n"),
			File: filepath.Join(dir, "a.yml"), Arch: "amd64", CacheDir: filepath.Join(dir, "cache")}, container, to)
	}
	if err := os.Mkdir(filepath.Join(out, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	for container, to := range map[string]string{"first": "new/folder", "onboot/000-first": "empty", "second": "second", "services/third": "third"} {
		to = filepath.Join(out, to)
		if err := write(container, to); err != nil {
			t.Errorf("%s: %v", container, err)
			continue
		}
		b, err := bundle.Load(to)
		if err != nil || len(b.Warnings) > 0 {
			t.Errorf("%s: %v, %v", container, err, b.Warnings)
		}
	}
	if got := read(t, filepath.Join(out, "third/rootfs/usr/bin/app")); !strings.HasPrefix(string(got), "appapp") {
		t.Errorf("got %q", got)
	}
	for container, want := range map[string]string{
		"none":  `a.yml: cannot find container "none": there are onboot/000-first, onshutdown/000-third, services/second, services/third`,
		"third": `a.yml: cannot choose container "third": name one of onshutdown/000-third, services/third`,
	} {
		if err := write(container, filepath.Join(out, "bad")); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", container, err, want)
		}
	}
	if err := write("first", out); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("a folder that is not empty: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(out, "*")); err != nil || len(left) != 4 {
		t.Errorf("in the folder are %q, %v", left, err)
	}
}

const bundleYAML = `
services:
  - name: writable
    image: dir:image
    command: [/bin/sh, -ec, "echo written >/file; cat /file; stat -c %u /etc/mine"]
    readonly: false
  - name: readonly
    image: dir:image
    command: [/bin/sh, -c, "echo x >/file || echo refused"]
    readonly: true
  - name: mapped
    image: dir:image
    command: [/bin/sh, -c, "stat -c %u /bin/sh"]
    userns: new
    net: new
    ipc: new
    uidMappings: [{hostID: 100000, containerID: 0, size: 65536}]
    gidMappings: [{hostID: 100000, containerID: 0, size: 65536}]
`

// runc runs what was written, with the owners and the rights that the file asks for.
func TestRuncRunsBundle(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		dir := t.TempDir()
		// Root of a user namespace must be able to reach the files.
		if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
			t.Fatal(err)
		}
		busyboxImage(t, filepath.Join(dir, "image"))
		for name, want := range map[string]string{"writable": "written\n0\n", "readonly": "refused\n", "mapped": "0\n"} {
			to := filepath.Join(dir, name)
			if err := WriteBundle(t.Context(), Options{YAML: []byte(bundleYAML), File: filepath.Join(dir, "a.yml"), CacheDir: dir}, name, to); err != nil {
				t.Fatal(err)
			}
			var stderr strings.Builder
			cmd := exec.Command(nstest.Runc(t), "--root", "/run/runc", "run", "--bundle", to, name)
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil || string(out) != want {
				t.Errorf("%s: got %q, %v, want %q\n%s", name, out, err, want, stderr.String())
			}
		}
	})
}

// busyboxImage makes a folder that is the root of a container with a shell.
func busyboxImage(t *testing.T, dir string) {
	t.Helper()
	tier.Tool(t, "busybox", "busybox-static")
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(os.MkdirAll(filepath.Join(dir, "bin"), 0o755), os.MkdirAll(filepath.Join(dir, "etc"), 0o755),
		os.WriteFile(filepath.Join(dir, "etc/mine"), nil, 0o644), os.Chown(filepath.Join(dir, "etc/mine"), 1000, 1000),
		os.WriteFile(filepath.Join(dir, "bin/busybox"), read(t, busybox), 0o755))
	for _, applet := range []string{"sh", "cat", "stat"} {
		err = errors.Join(err, os.Symlink("busybox", filepath.Join(dir, "bin", applet)))
	}
	if err != nil {
		t.Fatal(err)
	}
}
