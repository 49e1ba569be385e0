package supervisor

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"keelson/runtime/artifact"
	"keelson/services/control"
	"keelson/services/versions"
	"keelson/testvm/nstest"
	"keelson/testvm/tier"
)

// tarOf packs files: links begin with "-> ", folders end with a slash.
func tarOf(t *testing.T, files map[string]string, order ...string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, name := range order {
		h := &tar.Header{Name: name, Mode: 0o755, Typeflag: tar.TypeReg, Size: int64(len(files[name]))}
		content := files[name]
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			h.Typeflag, h.Linkname, h.Size, content = tar.TypeSymlink, target, 0, ""
		} else if strings.HasSuffix(name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// imageLayout returns an OCI image layout with busybox, whose command is the script of a
// version.
func imageLayout(t *testing.T, version string, change func(*v1.Image)) []byte {
	t.Helper()
	tier.Tool(t, "busybox", "busybox-static")
	path, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	busybox, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"bin/", "bin/busybox", "bin/sh", "bin/sleep", "proc/", "dev/", "sys/", "tmp/", "run/"}
	layer := tarOf(t, map[string]string{"bin/busybox": string(busybox), "bin/sh": "-> busybox", "bin/sleep": "-> busybox"}, names...)
	var config v1.Image
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config = v1.ImageConfig{
		User: "nobody", Entrypoint: []string{"/bin/sh", "-c"}, Cmd: []string{scriptOf(version)},
		Env: []string{"PATH=/bin", "FROM=image"}, WorkingDir: "/tmp", StopSignal: "SIGTERM",
	}
	if change != nil {
		change(&config)
	}
	files, order := map[string]string{"oci-layout": `{"imageLayoutVersion":"1.0.0"}`}, []string{"oci-layout", "index.json"}
	blob := func(mediaType string, data []byte) v1.Descriptor {
		d := v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
		name := "blobs/sha256/" + d.Digest.Encoded()
		files[name], order = string(data), append(order, name)
		return d
	}
	document := func(v any) []byte {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	manifest := blob(v1.MediaTypeImageManifest, document(v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest,
		Config: blob(v1.MediaTypeImageConfig, document(config)), Layers: []v1.Descriptor{blob(v1.MediaTypeImageLayer, layer)},
	}))
	manifest.Annotations = map[string]string{artifact.ReferenceKey: "example/web:" + version}
	files["index.json"] = string(document(v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []v1.Descriptor{manifest}}))
	return tarOf(t, files, order...)
}

// A service is swapped for a plain container image, which the real process unpacks. Command,
// environment and working directory are those of the image, the user that of the service. The
// version is a whole bundle: it is resumed and restarted without the bundle of the image.
func TestSwapSystemImage(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		s := newSwapping(t)
		swap := func(version, reason string, change func(*v1.Image)) {
			t.Helper()
			err := <-s.request(control.Swap, "web", string(imageLayout(t, version, change)))
			if (err == nil) != (reason == "") || err != nil && !strings.Contains(err.Error(), reason) {
				s.fail("swap to %s: %v, want %q", version, err, reason)
			}
		}
		swap("good-plain", "", nil)
		current := s.read("web").Current
		s.named["web "+string(current)] = "good-plain"
		s.settles("swap", "web", current)
		if config, err := os.ReadFile(filepath.Join(versions.Dir, "web/current/config.json")); err != nil || !strings.Contains(string(config), `"FROM=image"`) {
			t.Errorf("config.json of the version: %s, %v", config, err)
		}
		pid := s.until("web", "running", running).PID
		environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil || !strings.Contains(string(environment), "FROM=image\x00") {
			t.Errorf("environment %q, %v", environment, err)
		}
		if dir, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); err != nil || dir != "/tmp" {
			t.Errorf("working directory %s, %v", dir, err)
		}
		if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); err != nil || !strings.Contains(string(status), "\nUid:\t0\t0\t0\t0\n") {
			t.Errorf("the user is another one: %s %v", status, err)
		}

		own := filepath.Join(s.dir, "web")
		if err := os.Rename(filepath.Join(own, "config.json"), filepath.Join(own, "config.old")); err != nil {
			t.Fatal(err)
		}
		s.killSupervisor()
		if now := s.until("web", "known", func(v control.Service) bool { return running(v) && !strings.HasPrefix(v.Status, "as last known") }); now.PID != pid {
			t.Errorf("process %d was not taken over: %+v", pid, now)
		}
		if err := os.Rename(filepath.Join(own, "config.old"), filepath.Join(own, "config.json")); err != nil {
			t.Fatal(err)
		}
		swap("no-program", "is restored", func(c *v1.Image) { c.Config.Entrypoint = []string{"/none"} })
		s.settles("swap that fails", "web", current)
		swap("other", "no manifest for linux/"+runtime.GOARCH, func(c *v1.Image) { c.Architecture = "m68k" })
		s.settles("image for another machine", "web", current)
		s.undo("swap", control.Rollback, "web", versions.Image)
		s.end()
	})
}
