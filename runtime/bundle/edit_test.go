package bundle

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func loaded(t *testing.T, config string) *Bundle {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "x")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ConfigFile), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	b, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Edited keeps all other fields of config.json, also fields that this program does not
// know, and numbers that a float64 cannot represent.
func TestEdited(t *testing.T) {
	yes, score := true, 7
	for _, c := range []struct {
		config string
		edit   Edit
		want   string // DIR is the bundle's folder
	}{
		{
			`{"ociVersion":"9.0","process":{"args":["a"],"newer":{"x":18446744073709551615}},"root":{"path":"rootfs","newer":1.10},"newer":["<&>"]}`,
			Edit{},
			`{"ociVersion":"9.0","process":{"args":["a"],"newer":{"x":18446744073709551615}},"root":{"path":"DIR/rootfs","newer":1.10},"newer":["<&>"]}`,
		},
		{
			`{"process":{"args":["a"],"env":["A=1"],"terminal":false},"root":{"path":"/lower","readonly":true},"mounts":[]}`,
			Edit{Terminal: &yes, OOMScoreAdj: &score, Env: []string{"B=2"}},
			`{"process":{"args":["a"],"env":["A=1","B=2"],"terminal":true,"oomScoreAdj":7},"root":{"path":"/lower","readonly":true},"mounts":[]}`,
		},
		{ // Only sources of binds are relative to the bundle.
			`{"process":{"args":["a"]},"root":{"path":"r"},"mounts":[{"destination":"/a","type":"bind","source":"data","newer":1},
				{"destination":"/b","source":"../b","options":["rbind","ro"]},{"destination":"/c","type":"tmpfs","source":"tmpfs"}]}`,
			Edit{},
			`{"process":{"args":["a"]},"root":{"path":"DIR/r"},"mounts":[{"destination":"/a","type":"bind","source":"DIR/data","newer":1},
				{"destination":"/b","source":"PARENT/b","options":["rbind","ro"]},{"destination":"/c","type":"tmpfs","source":"tmpfs"}]}`,
		},
		{
			`{"process":{"args":["a"]},"root":{"path":"r"},"mounts":[{"destination":"/a","newer":1}]}`,
			Edit{Mounts: []specs.Mount{{Destination: "/b", Type: "tmpfs"}}},
			`{"process":{"args":["a"]},"root":{"path":"DIR/r"},"mounts":[{"destination":"/a","newer":1},{"destination":"/b","type":"tmpfs"}]}`,
		},
		{
			`{"process":{"args":["a"]},"root":{"path":"r"}}`,
			Edit{Mounts: []specs.Mount{{Destination: "/b", Type: "tmpfs"}}},
			`{"process":{"args":["a"]},"root":{"path":"DIR/r"},"mounts":[{"destination":"/b","type":"tmpfs"}]}`,
		},
		{
			`{"process":{"args":["a"]},"root":{"path":"r"},"linux":{"cgroupsPath":"/p","newer":1}}`,
			Edit{CgroupsPath: "/p/own"},
			`{"process":{"args":["a"]},"root":{"path":"DIR/r"},"linux":{"cgroupsPath":"/p/own","newer":1}}`,
		},
		{
			`{"process":{"args":["a"]},"root":{"path":"r"}}`,
			Edit{CgroupsPath: "/p/own"},
			`{"process":{"args":["a"]},"root":{"path":"DIR/r"},"linux":{"cgroupsPath":"/p/own"}}`,
		},
		{
			`{"process":{"args":["a"]},"root":{"path":"r"},"linux":{"resources":{"memory":{"limit":1,"newer":2},"PIDS":{"limit":3},"unified":{"memory.max":"1"}}}}`,
			Edit{Without: []ResourceLimit{{Path: []string{"memory", "limit"}}, {Path: []string{"pids", "limit"}}, {Path: []string{"unified", "memory.max"}}}},
			`{"process":{"args":["a"]},"root":{"path":"DIR/r"},"linux":{"resources":{"memory":{"newer":2}}}}`,
		},
		{
			`{"process":{"args":["a"]},"root":{"path":"r"},"linux":{"newer":1}}`,
			Edit{Seccomp: &specs.LinuxSeccomp{DefaultAction: specs.ActErrno}},
			`{"process":{"args":["a"]},"root":{"path":"DIR/r"},"linux":{"newer":1,"seccomp":{"defaultAction":"SCMP_ACT_ERRNO"}}}`,
		},
		{ // An empty filter is none.
			`{"process":{"args":["a"]},"root":{"path":"r"},"linux":{"SECCOMP":{}}}`,
			Edit{Seccomp: &specs.LinuxSeccomp{DefaultAction: specs.ActErrno}},
			`{"process":{"args":["a"]},"root":{"path":"DIR/r"},"linux":{"seccomp":{"defaultAction":"SCMP_ACT_ERRNO"}}}`,
		},
		{ // The case of field names is ignored, as in the runtime's decoder.
			`{"Process":{"Args":["a"],"TERMINAL":true},"root":{"Path":"r"}}`,
			Edit{Terminal: new(bool)},
			`{"process":{"Args":["a"],"terminal":false},"root":{"path":"DIR/r"}}`,
		},
	} {
		b := loaded(t, c.config)
		got, err := b.Edited(c.edit)
		if err != nil {
			t.Fatal(err)
		}
		want := strings.ReplaceAll(strings.ReplaceAll(c.want, "DIR", b.Dir), "PARENT", filepath.Dir(b.Dir))
		if exact(t, got) != exact(t, []byte(want)) {
			t.Errorf("%s\ngot  %s\nwant %s", c.config, got, want)
		}
	}
}

// exact returns JSON with sorted fields and unchanged numbers.
func exact(t *testing.T, text []byte) string {
	t.Helper()
	var v any
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// A field that occurs twice has the same value for this program and the runtime.
func TestEditedFieldTwice(t *testing.T) {
	b := loaded(t, `{"process":{"args":["a"]},"PROCESS":{"args":["b"],"cwd":"/x"},"root":{"path":"r"},"root":{"path":"s"}}`)
	got, err := b.Edited(Edit{})
	if err != nil {
		t.Fatal(err)
	}
	var spec specs.Spec
	if err := json.Unmarshal(got, &spec); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(spec.Process, b.Spec.Process) || spec.Root.Path != b.Rootfs() || strings.Contains(string(got), "PROCESS") {
		t.Errorf("%s", got)
	}
}

// A configuration that can be loaded can be edited, and means the same afterwards.
// Refusals does not panic on it.
func FuzzEdited(f *testing.F) {
	for _, kind := range []string{"onboot/000-sysctl", "services/web", "services/worker"} {
		text, err := os.ReadFile("testdata/containers/" + kind + "/" + ConfigFile)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"process":{"args":["a"]},"Process":{"terminal":true},"root":{"path":"r"},"mounts":[{"type":"bind","source":"x"},null]}`))
	f.Add([]byte(`{"process":{"args":["a"]},"root":{"path":"r"},"mounts":[{"type":"bind","source":"x"}],"mounts":[null]}`))
	f.Add([]byte(`{"process":{"args":["a"]},"root":{"path":"r"},"root":null,"Root":{"path":"r"}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		b := &Bundle{Dir: "/b", Spec: &specs.Spec{}, text: text}
		if json.Unmarshal(text, b.Spec) != nil || checkSpec("", b.Spec) != nil {
			return
		}
		_ = Refusals(b.Spec)
		got, err := b.Edited(Edit{Env: []string{"X=1"}, Mounts: []specs.Mount{{Destination: "/x"}}, CgroupsPath: "/p"})
		if errors.Is(err, errTwice) {
			return
		}
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		var spec specs.Spec
		if err := json.Unmarshal(got, &spec); err != nil {
			t.Fatalf("%q gives %q: %v", text, got, err)
		}
		if spec.Root.Path != b.Rootfs() || !reflect.DeepEqual(spec.Process.Args, b.Spec.Process.Args) ||
			!reflect.DeepEqual(spec.Process.Env, append(b.Spec.Process.Env, "X=1")) || len(spec.Mounts) != len(b.Spec.Mounts)+1 || spec.Linux.CgroupsPath != "/p" {
			t.Errorf("%q gives %q", text, got)
		}
	})
}
