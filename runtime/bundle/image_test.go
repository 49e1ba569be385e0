package bundle

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"keelson/runtime/imageconfig"
)

// loadPair reads a bundle of two files, in which DIR stands for its folder.
func loadPair(t *testing.T, config, runtime string) *Bundle {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{ConfigFile: config, RuntimeFile: runtime} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(text, "DIR", dir)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Fields of the image are replaced, and all others stay, also unknown ones. The mounts of
// the bundle's own root are left out.
func TestForImage(t *testing.T) {
	b := loadPair(t, `{"root":{"path":"lower","readonly":true,"new":1},"hostname":"h","future":{"x":[1]},
		"process":{"user":{"uid":7},"args":["old"],"env":["OLD=1"],"cwd":"/old","later":true},
		"mounts":[{"destination":"/data","type":"bind","source":"/var/data","options":["bind"]}],
		"annotations":{"a":"b","org.opencontainers.image.stopSignal":"SIGINT"}}`,
		`{"mounts":[{"destination":"DIR/tmp","type":"tmpfs","source":"tmpfs"},{"destination":"DIR/rootfs","source":"/containers/services/x/lower","options":["bind"]},
		{"destination":"/var/x","type":"tmpfs","source":"tmpfs"},{"destination":"data","source":"/srv","options":["bind"]}],"mkdir":["/var/data"],"later":2}`)
	config, runtime, err := b.ForImage(imageconfig.Fields{Command: []string{"/new", "a"}, Cwd: "/", StopSignal: "SIGQUIT"})
	if err != nil {
		t.Fatal(err)
	}
	wantJSON(t, config, `{"root":{"path":"rootfs","readonly":true,"new":1},"hostname":"h","future":{"x":[1]},
		"process":{"user":{"uid":7},"args":["/new","a"],"env":[],"cwd":"/","later":true},
		"mounts":[{"destination":"/data","type":"bind","source":"/var/data","options":["bind"]}],
		"annotations":{"a":"b","org.opencontainers.image.stopSignal":"SIGQUIT"}}`)
	wantJSON(t, runtime, `{"mounts":[{"destination":"/var/x","type":"tmpfs","source":"tmpfs"},{"destination":"data","source":"/srv","options":["bind"]}],
		"mkdir":["/var/data"],"later":2}`)

	b = loadPair(t, string(config), string(runtime)) // Once more is the same.
	again, same, err := b.ForImage(b.ImageFields())
	if err != nil || string(again) != string(config) || string(same) != string(runtime) {
		t.Errorf("%v\n%s\n%s", err, again, same)
	}
	config, _, err = b.ForImage(imageconfig.Fields{Command: []string{"x"}, Cwd: "/"})
	if err != nil || strings.Contains(string(config), "stopSignal") {
		t.Errorf("%v: the stop signal of the old image is left: %s", err, config)
	}
}

func wantJSON(t *testing.T, got []byte, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal(got, &g); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(w, g); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A container that needs files of its bundle cannot have another root.
func TestForImageRefuses(t *testing.T) {
	const config = `{"root":{"path":"rootfs"},"process":{"args":["x"],"cwd":"/"},"mounts":[MOUNT]}`
	for name, pair := range map[string][2]string{
		"relative bind": {`{"destination":"/x","type":"bind","source":"file"}`, `{}`},
		"own file":      {`{"destination":"/x","type":"bind","source":"DIR/file"}`, `{}`},
		"own mount":     {``, `{"mounts":[{"destination":"DIR/rootfs/x","type":"tmpfs","source":"tmpfs"}]}`},
		"own source":    {``, `{"mounts":[{"destination":"/x","source":"DIR/lower","options":["bind"]}]}`},
		"own layer":     {``, `{"mounts":[{"destination":"/x","type":"overlay","source":"overlay","options":["lowerdir=DIR/lower,upperdir=/a,workdir=/b"]}]}`},
	} {
		b := loadPair(t, strings.Replace(config, "MOUNT", pair[0], 1), pair[1])
		if _, _, err := b.ForImage(b.ImageFields()); err == nil || !strings.Contains(err.Error(), "mounts[0]") || !strings.Contains(err.Error(), b.Dir) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestMapsUsers(t *testing.T) {
	for mappings, want := range map[string]bool{
		``:                            false,
		`"linux":{"uidMappings":[]},`: false,
		`"linux":{"uidMappings":[{"containerID":0,"hostID":0,"size":9}]},`:      false,
		`"linux":{"gidMappings":[{"containerID":0,"hostID":100000,"size":9}]},`: true,
		`"linux":{"uidMappings":[{"containerID":0,"hostID":100000,"size":9}]},`: true,
	} {
		b := loadPair(t, `{`+mappings+`"root":{"path":"rootfs"},"process":{"args":["x"],"cwd":"/"}}`, "{}")
		if b.MapsUsers() != want {
			t.Errorf("%s: %v, want %v", mappings, b.MapsUsers(), want)
		}
	}
}
