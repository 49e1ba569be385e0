package bundle

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// testdata/containers was written by LinuxKit's CLI.
func TestLoadLinuxKit(t *testing.T) {
	web, err := Load("testdata/containers/services/web")
	if err != nil {
		t.Fatal(err)
	}
	want := Runtime{
		Cgroups: []string{"limits", "limits/web"},
		Mounts: []Mount{
			{Destination: "/containers/services/web/rootfs", Source: "/containers/onboot/000-sysctl/rootfs", Options: []string{"bind"}},
			{Destination: "/var/lib/web", Type: "tmpfs", Source: "tmpfs", Options: []string{"size=16m", "nodev"}},
		},
		Mkdir: []string{"/var/lib/web"}, Interfaces: []Interface{}, Namespace: "example",
	}
	if !reflect.DeepEqual(web.Runtime, want) {
		t.Errorf("runtime.json read as %+v, want %+v", web.Runtime, want)
	}
	if web.Name != "web" || web.Namespace() != "example" || web.Settings.Restart != RestartAlways ||
		web.Settings.Ready.String() != "tcp:80" || len(web.Warnings) != 0 {
		t.Errorf("read as %+v", web)
	}
	if want := filepath.Join(web.Dir, "rootfs"); web.Rootfs() != want || !filepath.IsAbs(want) {
		t.Errorf("Rootfs() = %s, want %s", web.Rootfs(), want)
	}
}

func TestLoadEveryFixture(t *testing.T) {
	for _, kind := range []string{"onboot", "onshutdown", "services"} {
		dir := filepath.Join("testdata/containers", kind)
		names, err := List(dir)
		if err != nil || len(names) == 0 {
			t.Fatalf("List(%s) = %v, %v", dir, names, err)
		}
		for _, name := range names {
			b, err := Load(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			sameJSON(t, filepath.Join(b.Dir, RuntimeFile), b.Runtime)
		}
	}
}

// sameJSON: the image builder writes runtime.json from the same type.
func sameJSON(t *testing.T, path string, v any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var a, b any
	if json.Unmarshal(data, &a) != nil || json.Unmarshal(again, &b) != nil || !reflect.DeepEqual(a, b) {
		t.Errorf("%s is encoded as %s", path, again)
	}
}

func TestBindNSPaths(t *testing.T) {
	b, err := Load("testdata/containers/onboot/001-netns")
	if err != nil {
		t.Fatal(err)
	}
	if got := b.Runtime.BindNS.Paths(); !reflect.DeepEqual(got, []NamespacePath{{"net", "/run/netns/inner"}}) {
		t.Errorf("bindNS %+v", got)
	}
	if b.Runtime.Interfaces[1] != (Interface{Name: "wg0", Add: "wireguard", CreateInRoot: true}) {
		t.Errorf("interfaces %+v", b.Runtime.Interfaces)
	}
}

const goodConfig = `{"ociVersion":"1.2.1","unheard":{"of":1},"process":{"args":["/app"],"cwd":"/"},"root":{"path":"/elsewhere"}}`

func TestLoadWithoutRuntimeFile(t *testing.T) {
	b, err := Load(write(t, goodConfig, ""))
	if err != nil {
		t.Fatal(err)
	}
	if b.Rootfs() != "/elsewhere" || b.Namespace() != DefaultNamespace || !reflect.DeepEqual(b.Settings, Defaults()) {
		t.Errorf("read as %+v", b)
	}
}

func TestLoadErrors(t *testing.T) {
	for _, tt := range []struct{ name, config, runtime, want string }{
		{"no config", "", "", "config.json"},
		{"not JSON", "{\n  \"process\": }", "", "config.json:2:15"},
		{"empty", " ", "", "config.json:1"},
		{"no root", `{"process":{"args":["a"]}}`, "", "root.path"},
		{"no args", `{"process":{"args":[]},"root":{"path":"rootfs"}}`, "", "process.args"},
		{"args is a string", "{\"process\":{\n\"args\": \"/bin/sh\"}}", "", `config.json: field process.args: bad value "/bin/sh"`},
		{"readonly is a number", `{"root":{"path":"x","readonly": 1}}`, "", `field root.readonly: bad value "1"`},
		{"list in place of object", `["a"]`, "", `config.json: field (whole file)`},
		{"mounts is an object", goodConfig, `{"mounts": {"destination": "/x"}}`, `runtime.json: field mounts: bad value "{\"destination\"`},
		{"mkdir holds a number", goodConfig, `{"mkdir": ["/a", 7]}`, `bad value "7"`},
		{"destination is missing", goodConfig, `{"mounts":[{"type":"tmpfs"}]}`, "mounts[0].destination"},
		{"cgroup is the root", goodConfig, `{"cgroups":["a","../.."]}`, `field cgroups[1]: bad value "../.."`},
		{"interface without name", goodConfig, `{"interfaces":[{"add":"veth"}]}`, "interfaces[0].name"},
		{"relative bindNS", goodConfig, `{"bindNS":{"net":"inner"}}`, `field bindNS.net: bad value "inner"`},
		{"namespace", goodConfig, `{"namespace":"a/b"}`, `field namespace: bad value "a/b"`},
	} {
		_, err := Load(write(t, tt.config, tt.runtime))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %s", tt.name, err, tt.want)
		}
	}
}

func TestLoadRefusesFolder(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, ConfigFile), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil {
		t.Error("no error for a directory in place of config.json")
	}
}

func TestList(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"010-b", "002-a"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "001-file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if names, err := List(dir); err != nil || !reflect.DeepEqual(names, []string{"002-a", "010-b"}) {
		t.Errorf("List = %v, %v", names, err)
	}
	if names, err := List(filepath.Join(dir, "missing")); err != nil || names != nil {
		t.Errorf("List of a missing directory = %v, %v", names, err)
	}
}

func write(t *testing.T, config, runtime string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{ConfigFile: config, RuntimeFile: runtime} {
		if text == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Load refuses a bundle that would fail later, when the container is prepared, created or
// started.
func TestLoadRefusesEarly(t *testing.T) {
	long := strings.Repeat("x", 256)
	config := func(cgroup string) string {
		return strings.Replace(goodConfig, `"root"`, `"linux":{"cgroupsPath":"`+cgroup+`"},"root"`, 1)
	}
	for _, tt := range []struct{ config, runtime, want string }{
		{config("/"), "", "config.json: field linux.cgroupsPath"},
		{config("../.."), "", "linux.cgroupsPath"},
		{config(`a\nb`), "", "linux.cgroupsPath"},
		{config(long), "", "linux.cgroupsPath"},
		{config("a/cgroup.procs"), "", "linux.cgroupsPath"},
		{config("a/b"), "", ""},
		{strings.Replace(goodConfig, "/elsewhere", `/e\u0000`, 1), "", "root.path"},

		{"", `{"cgroups":["a","b\nc"]}`, "runtime.json: field cgroups[1]"},
		{"", `{"mkdir":["a\u0000"]}`, "mkdir[0]"},
		{"", `{"mounts":[{"destination":"/a\u0000","type":"tmpfs"}]}`, "mounts[0].destination"},
		{"", `{"mounts":[{"destination":"/a","type":"tmp\u0000fs"}]}`, "mounts[0].type"},
		{"", `{"mounts":[{"destination":"/a","type":"tmpfs","options":["size=1\u0000"]}]}`, "mounts[0].options"},
		{"", `{"mounts":[{"destination":"/a"}]}`, "mounts[0].type"},
		{"", `{"mounts":[{"destination":"/a","source":"/dev/vda"}]}`, "mounts[0].type"},
		{"", `{"mounts":[{"destination":"/a","options":["rshared","ro"]}]}`, "mounts[0].type"},
		{"", `{"mounts":[{"destination":"/a","options":["rshared"]}]}`, ""},
		{"", `{"mounts":[{"destination":"/a","options":["remount,ro"]}]}`, ""},
		{"", `{"mounts":[{"destination":"/a","options":["bind"]}]}`, "mounts[0].source"},
		{"", `{"mounts":[{"destination":"/a","type":"rbind"}]}`, "mounts[0].source"},
		{"", `{"mounts":[{"destination":"/a","type":"overlay","options":["ro"]}]}`, "mounts[0].options"},
		{"", `{"mounts":[{"destination":"/a","type":"overlay","options":["lowerdir=/b,upperdir=/c"]}]}`, "mounts[0].options"},
		{"", `{"mounts":[{"destination":"/a","type":"overlay","options":["lowerdir=/b"]}]}`, ""},

		{"", `{"interfaces":[{"name":"a name"}]}`, "interfaces[0].name"},
		{"", `{"interfaces":[{"name":"sixteencharacter"}]}`, "interfaces[0].name"},
		{"", `{"interfaces":[{"name":"lo"}]}`, "interfaces[0].name"},
		{"", `{"interfaces":[{"name":"eth0"},{"name":"eth0","add":"dummy"}]}`, "interfaces[1].name"},
		{"", `{"interfaces":[{"name":"a","createInRoot":true}]}`, "interfaces[0].createInRoot"},
		{"", `{"interfaces":[{"name":"a","add":"dummy","peer":"b"}]}`, "interfaces[0].add"},
		{"", `{"interfaces":[{"name":"a","peer":"b/c"}]}`, "interfaces[0].peer"},
		{"", `{"interfaces":[{"name":"a","peer":"a","createInRoot":true}]}`, "interfaces[0].peer"},
		{"", `{"interfaces":[{"name":"a","peer":"p"},{"name":"b","peer":"p"}]}`, "interfaces[1].peer"},
		{"", `{"interfaces":[{"name":"a","peer":"a"},{"name":"b","add":"veth","peer":"b0","createInRoot":true}]}`, ""},

		{"", `{"bindNS":{"net":"/"}}`, "bindNS.net"},
		{"", `{"bindNS":{"net":"/run/netns/"}}`, "bindNS.net"},
		{"", `{"bindNS":{"net":"/run/a\u0000"}}`, "bindNS.net"},
		{"", `{"bindNS":{"net":"/run/a","uts":"/run//a"}}`, "bindNS.uts"},
		{"", `{"namespace":"a--b"}`, "field namespace"},
	} {
		if tt.config == "" {
			tt.config = goodConfig
		}
		_, err := Load(write(t, tt.config, tt.runtime))
		if (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "bad value")) {
			t.Errorf("%s %s: error %v, want one about %q", tt.config, tt.runtime, err, tt.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(goodConfig))
	f.Add([]byte(`{"mounts":[{"destination":7}]}`))
	f.Add([]byte("{\n\"process\": [1,2"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r, again Runtime
		if decodeTwice(t, RuntimeFile, data, &r, &again) {
			if first, second := checkRuntime(RuntimeFile, &r), checkRuntime(RuntimeFile, &again); (first == nil) != (second == nil) {
				t.Errorf("%q is checked differently when it is encoded again: %v, %v", data, first, second)
			}
		}
		decodeTwice(t, ConfigFile, data, &specs.Spec{}, &specs.Spec{})
	})
}

// decodeTwice decodes data into v, and the encoded v into again, which must be the same. It
// reports whether data could be decoded; the error must name the file.
func decodeTwice(t *testing.T, path string, data []byte, v, again any) bool {
	t.Helper()
	if err := decode(path, data, v); err != nil {
		if !strings.Contains(err.Error(), path) {
			t.Errorf("the error does not name the file: %v", err)
		}
		return false
	}
	first, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := decode(path, first, again); err != nil {
		t.Fatalf("%s: %v", first, err)
	}
	if second, err := json.Marshal(again); err != nil || !bytes.Equal(first, second) {
		t.Errorf("%s became %s, %v", first, second, err)
	}
	return true
}

func TestJSON(t *testing.T) {
	b, err := Load(write(t, goodConfig, ""))
	if err != nil {
		t.Fatal(err)
	}
	if config, runtime, err := b.JSON(); string(config) != goodConfig || string(runtime) != "{}" || err != nil {
		t.Errorf("JSON() = %s, %s, %v", config, runtime, err)
	}
	b = &Bundle{Spec: &specs.Spec{Hostname: "a"}, Runtime: Runtime{Namespace: "b"}}
	config, runtime, err := b.JSON()
	if err != nil || !strings.Contains(string(config), `"hostname":"a"`) || !strings.Contains(string(runtime), `"namespace":"b"`) {
		t.Errorf("JSON() = %s, %s, %v", config, runtime, err)
	}
}
