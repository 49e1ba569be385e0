package config

import (
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
)

func parseAll(t *testing.T, inputs ...Input) *Document {
	t.Helper()
	d, err := ParseAll(inputs)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Lists are appended; each key of the kernel in a later file replaces that of an earlier one.
func TestParseAll(t *testing.T) {
	d := parseAll(t,
		Input{Name: "a.yml", Source: []byte("kernel: {image: k1, cmdline: one, binary: b, tar: none}\ninit: [i1]\nservices:\n- &s {name: s1, image: x}\n- {<<: *s, name: s2}\nfiles:\n- {path: etc/a, contents: a, uid: s3}\n")},
		Input{Name: "empty.yml", Source: []byte("# nothing\n")},
		Input{Name: "b.yml", Source: []byte("kernel: {image: k2, cmdline: \"\", modules: []}\ninit: [i2, i3]\nonboot:\n- &s {name: o1, image: y}\nservices:\n- {<<: *s, name: s3}\nvolumes: [{name: v}]\n")},
	)
	c := d.Config
	if k := c.Kernel; k.Image != "k2" || k.Cmdline != "one" || k.Binary != "b" || *k.Tar != "none" || k.Modules == nil {
		t.Errorf("kernel %+v", k)
	}
	var names []string
	for _, s := range c.Sections() {
		for _, img := range s.Images {
			names = append(names, img.Name+" "+img.Image)
		}
	}
	if got := strings.Join(names, ", "); got != "o1 y, s1 x, s2 x, s3 y" {
		t.Errorf("containers %s", got)
	}
	if got := strings.Join(c.Init, " "); got != "i1 i2 i3" || len(c.Volumes) != 1 || len(c.Files) != 1 {
		t.Errorf("init %s, %v, %v", got, c.Volumes, c.Files)
	}
	if id, err := c.Files[0].UID.Number(c.IDs()); err != nil || id != 103 {
		t.Errorf("an id of another file: %d, %v", id, err)
	}
}

func TestErrorsNameTheFileOfSeveral(t *testing.T) {
	const a = "kernel:\n  image: x\nservices:\n  - {name: a, image: x}\n  - {name: b, image: x, cgroupsPath: /p}\nfiles:\n  - {path: f, contents: f}\n"
	for _, tt := range []struct {
		name, a, b string
		file       string
		line       int
		field      string
	}{
		{"field not known", a, "services:\n- {name: c, image: x, comand: [x]}\n", "b.yml", 2, "services[0].comand"},
		{"name of another file", a, "\n\nservices:\n- {name: c, image: x}\n- {name: a, image: x}\n", "b.yml", 5, "services[1].name"},
		{"cgroup of another file", a, "services:\n- name: c\n  image: x\n  cgroupsPath: /p\n", "b.yml", 4, "services[0].cgroupsPath"},
		{"in the first of two lists", strings.Replace(a, "name: b", "name: a", 1), "services:\n- {name: c, image: x}\n", "a.yml", 5, "services[1].name"},
		{"in the first file alone", strings.Replace(a, "path: f", "path: dev/f", 1), "services: []\n", "a.yml", 7, "files[0].path"},
		{"kernel in parts", "kernel:\n  modules: [all]\n", "kernel:\n  modules: [all, x]\n", "b.yml", 2, "kernel"},
		{"kernel of the first", "kernel:\n  cmdline: x\n  binary: y\n", "init: []\n", "a.yml", 2, "kernel"},
		{"syntax", a, "init: [\n", "b.yml", 1, ""},
		{"two documents", "init: []\n---\ninit: []\n", a, "a.yml", 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseAll([]Input{{Name: "a.yml", Source: []byte(tt.a)}, {Name: "b.yml", Source: []byte(tt.b)}})
			var e *Error
			if !errors.As(err, &e) || e.File != tt.file || e.Line != tt.line || tt.field != "" && e.Field != tt.field {
				t.Errorf("got %v, want %s:%d: %s", err, tt.file, tt.line, tt.field)
			}
		})
	}
}

// An error about a missing field names the last file.
func TestErrorsAboutWhatIsMissing(t *testing.T) {
	d := parseAll(t, Input{Name: "a.yml", Source: []byte("kernel: {cmdline: x}\n")}, Input{Name: "b.yml"})
	for field, want := range map[string]string{"kernel.image": "a.yml:1: kernel.image: is missing", "init": "b.yml: init: is missing", "services[7]": "b.yml: services[7]: is missing"} {
		if err := d.Errorf(field, "is missing"); err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// Paths are relative to the folder of their file, also in lists that an alias shares.
func TestRebase(t *testing.T) {
	d := parseAll(t, Input{Name: "../lib/a.yml", Base: "../lib", Source: []byte(`
kernel: {image: "./kernel"}
init: ["dir:root/${ARCH}", "oci:/abs:v1", "oci:x:v1", "alpine:3", "deb:busybox", "dir:~/r"]
onboot: &list [{name: a, image: "dir:p"}]
services: *list
files: [{path: f, source: ../f}, {path: g, contents: g}]
volumes: [{name: v, image: "docker-archive:v.tar"}]
`)}, Input{Name: "b.yml", Base: ".", Source: []byte("init: [\"dir:own\"]\n")})
	want := `kernel:
  image: ../lib/kernel
init:
- dir:../lib/root/${ARCH}
- oci:/abs:v1
- oci:../lib/x:v1
- alpine:3
- deb:busybox
- dir:~/r
- dir:own
onboot:
- name: a
  image: dir:../lib/p
services:
- name: a
  image: dir:../lib/p
files:
- path: f
  source: ../f
- path: g
  contents: g
volumes:
- name: v
  image: docker-archive:../lib/v.tar
`
	text, err := d.YAML()
	if err != nil || string(text) != want {
		t.Errorf("%v, got\n%s\nwant\n%s", err, text, want)
	}
}

// A single file is printed unchanged; several are printed as one file with the same meaning.
func TestYAML(t *testing.T) {
	const source = "init: [a] # a comment\n"
	if text, err := parseAll(t, Input{Source: []byte(source)}).YAML(); err != nil || string(text) != source {
		t.Errorf("%q, %v", text, err)
	}
	rich, err := os.ReadFile("../testdata/linuxkit-cli/rich.yml")
	if err != nil {
		t.Fatal(err)
	}
	odd := "files:\n- {path: a, mode: 0644, contents: \"0644\"}\n- {path: b, contents: \" first\\n\\tx \\n\\n\"}\n- path: c\n  contents: |\n    one\n      two\n" +
		"- {path: d, contents: \"yes\"}\n- {path: e, contents: \"\"}\n- {path: f, contents: \"<<: #no\"}\n"
	d := parseAll(t, Input{Source: rich}, Input{Source: []byte(odd)})
	text, err := d.YAML()
	if err != nil {
		t.Fatal(err)
	}
	if again := parseAll(t, Input{Source: text}); !reflect.DeepEqual(again.Config, d.Config) {
		t.Errorf("the meaning has changed:\n%s", text)
	}
}

// An alias inside its own anchor does not lead to endless recursion.
func TestAliasOfItself(t *testing.T) {
	p := &part{Input: Input{Source: []byte("init: &a [x, *a]\n")}}
	_ = p.decode(new(any))
	if _, err := p.plain(); err == nil {
		t.Error("there is no limit")
	}
}

func FuzzParseAll(f *testing.F) {
	rich, err := os.ReadFile("../testdata/linuxkit-cli/rich.yml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(rich, []byte("services:\n  - {name: a, image: x, uid: 1}\n"))
	f.Add([]byte("kernel: {image: a}"), []byte("kernel: {cmdline: b}\nfiles: [{path: a, mode: 0644, contents: \"1\"}]"))
	f.Add([]byte("a: &a [*a]"), []byte("---\n---\n"))
	f.Add([]byte("services: &a [{name: a, image: x}]\nonboot: *a"), []byte("init: [\"dir:x\"]"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		d, err := ParseAll([]Input{{Name: "a", Source: a, Base: "../x"}, {Name: "b", Source: b}})
		if (d == nil) == (err == nil) {
			t.Fatalf("got %v and %v", d, err)
		}
		var e *Error
		if err != nil && (!errors.As(err, &e) || e.File != "a" && e.File != "b") {
			t.Fatalf("an error of no file: %v", err)
		}
		if err == nil {
			_, _ = d.YAML() // It checks itself that the text has the same meaning.
		}
	})
}
