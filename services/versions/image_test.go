package versions

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"keelson/runtime/artifact"
	"keelson/runtime/bundle"
)

const serviceConfig = `{"root":{"path":"rootfs","readonly":true},"process":{"user":{"uid":3},"args":["old"],"env":["OLD=1"],"cwd":"/old"},
	"annotations":{"keelson.swap.keep":"KEEP"}}`

// serviceWith reads the bundle of a service.
func serviceWith(t testing.TB, config string) *bundle.Bundle {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "web")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, bundle.ConfigFile), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// stageImage makes what the staging process leaves of a container image.
func stageImage(t testing.TB, s *Store, config string) (dir string, meta artifact.Meta) {
	t.Helper()
	dir, err := s.Stage("web")
	if err != nil {
		t.Fatal(err)
	}
	meta = artifact.Meta{Digest: "sha256:" + strings.Repeat("ab", 32), Architecture: "amd64", Image: true, Reference: "example/web:v1"}
	text, _ := json.Marshal(meta)
	for name, text := range map[string][]byte{artifact.ImageFile: []byte(config), artifact.File: text} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir, meta
}

// merge merges an image with the settings of a service, and keeps the version.
func merge(t *testing.T, s *Store, image string, service *bundle.Bundle) (*bundle.Bundle, Target, []string) {
	t.Helper()
	dir, meta := stageImage(t, s, image)
	version, notes, err := s.MergeImage(dir, meta, service)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Keep("web", dir, version); err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Load(s.Folder("web", version))
	if err != nil {
		t.Fatal(err)
	}
	return b, version, notes
}

const newImage = `{"config":{"User":"app","Cmd":["new"],"Env":["NEW=1"],"WorkingDir":"/new"}}`

// The image gives what the annotation does not keep. The bundle needs nothing of the other.
func TestMergeImage(t *testing.T) {
	for keep, want := range map[string][3]string{
		"stop-signal": {"new", "NEW=1", "/new"},
		"command":     {"old", "NEW=1", "/new"},
		"env, cwd":    {"new", "OLD=1", "/old"},
	} {
		s := New(t.TempDir())
		service := serviceWith(t, strings.Replace(serviceConfig, "KEEP", keep, 1))
		b, version, notes := merge(t, s, newImage, service)
		p := b.Spec.Process
		if got := [3]string{p.Args[0], p.Env[0], p.Cwd}; got != want || p.User.UID != 3 || !b.Spec.Root.Readonly {
			t.Errorf("%s: got %q, user %d, want %q", keep, got, p.User.UID, want)
		}
		if len(notes) != 2 || !strings.Contains(notes[0], `"app"`) || !strings.Contains(notes[1], keep) {
			t.Errorf("%s: notes %q", keep, notes)
		}
		meta, err := s.Meta("web", version)
		if err != nil || !meta.Image || meta.Writable || meta.Reference != "example/web:v1" || version.Digest() != meta.Digest {
			t.Errorf("%s: version %s with %+v, %v", keep, version, meta, err)
		}
		if _, again, _ := merge(t, s, newImage, b); again != version {
			t.Errorf("%s: merged with its own settings it is version %s, before %s", keep, again, version)
		}
		if files, err := os.ReadDir(s.path("web", string(version))); err != nil || len(files) != 3 {
			t.Errorf("%s: files %v, %v", keep, files, err)
		}
	}
}

// With other settings, the same image is another version with the same digest.
func TestMergeImageTwice(t *testing.T) {
	s := New(t.TempDir())
	_, one, _ := merge(t, s, newImage, serviceWith(t, strings.Replace(serviceConfig, "KEEP", "command", 1)))
	b, two, _ := merge(t, s, newImage, serviceWith(t, `{"root":{"path":"rootfs"},"process":{"args":["x"],"cwd":"/"}}`))
	if one == two || one.Digest() != two.Digest() || one.String() != two.String() {
		t.Errorf("versions %s and %s", string(one), string(two))
	}
	if meta, err := s.Meta("web", two); err != nil || !meta.Writable {
		t.Errorf("the root of a service that writes to it is not writable: %+v, %v", meta, err)
	}
	if _, again, _ := merge(t, s, newImage, b); again != two {
		t.Errorf("merged with its own settings it is version %s, before %s", string(again), string(two))
	}
	swap(t, s, one, "x")
	swap(t, s, two, "x")
	is(t, s, two, one)
}

func TestMergeImageRefuses(t *testing.T) {
	plain := `{"root":{"path":"rootfs"},"process":{"args":["x"],"cwd":"/"}}`
	for name, tt := range map[string]struct{ image, service, want string }{
		"no command":     {`{"config":{}}`, plain, "no command"},
		"wrong type":     {`{"config":{"Env":{}}}`, plain, "configuration of the image"},
		"no JSON":        {"x", plain, "configuration of the image"},
		"too large":      {strings.Repeat(" ", artifact.MaxDocument+1), plain, "4 MiB"},
		"user namespace": {newImage, strings.Replace(plain, "{", `{"linux":{"uidMappings":[{"containerID":0,"hostID":9,"size":1}]},`, 1), "user namespace"},
		"own files":      {newImage, strings.Replace(plain, "{", `{"mounts":[{"destination":"/x","type":"bind","source":"x"}],`, 1), "mounts[0]"},
	} {
		s := New(t.TempDir())
		dir, meta := stageImage(t, s, tt.image)
		if v, _, err := s.MergeImage(dir, meta, serviceWith(t, tt.service)); err == nil || v != "" || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: version %q, error %v, want %q", name, v, err, tt.want)
		}
	}
	s := New(t.TempDir())
	dir, meta := stageImage(t, s, newImage)
	link := filepath.Join(dir, artifact.ImageFile)
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, artifact.File), link); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.MergeImage(dir, meta, serviceWith(t, plain)); err == nil || !strings.Contains(err.Error(), "symbolic link") {
		t.Errorf("a link: error %v", err)
	}
}

// Whatever an image says, a bundle that is made of it can be read, and has the settings of
// the service.
func FuzzMergeImage(f *testing.F) {
	f.Add([]byte(newImage))
	f.Add([]byte(`{"config":{"Entrypoint":[""],"Env":[null],"WorkingDir":"\u0000","Labels":{"org.mobyproject.config":"{}"}}}`))
	service := serviceWith(f, strings.Replace(serviceConfig, "KEEP", "cwd", 1))
	f.Fuzz(func(t *testing.T, config []byte) {
		s := New(t.TempDir())
		dir, meta := stageImage(t, s, string(config))
		version, _, err := s.MergeImage(dir, meta, service)
		if err != nil {
			return
		}
		b, err := bundle.Load(dir)
		if err != nil || !version.IsVersion() {
			t.Fatalf("version %q: %v", version, err)
		}
		if p := b.Spec.Process; p.User.UID != 3 || p.Cwd != "/old" || b.Spec.Root.Path != artifact.RootDir || !slices.Equal(b.Settings.SwapKeep, service.Settings.SwapKeep) {
			t.Errorf("%+v", p)
		}
	})
}
