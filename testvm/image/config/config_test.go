package config

import (
	"errors"
	"os"
	"strings"
	"testing"
)

func TestParseRich(t *testing.T) {
	src, err := os.ReadFile("../testdata/linuxkit-cli/rich.yml")
	if err != nil {
		t.Fatal(err)
	}
	d, err := Parse("rich.yml", src)
	if err != nil {
		t.Fatal(err)
	}
	c := d.Config
	if len(c.Onboot) != 3 || len(c.Services) != 2 || len(c.Volumes) != 3 || len(c.Files) != 5 {
		t.Fatalf("sections have wrong lengths: %+v", c)
	}
	web := c.Services[0]
	if web.UID == nil || web.UID.Name != "web" || web.AdditionalGids[0].Num != 10 || web.AdditionalGids[1].Name != "web" {
		t.Errorf("ids: %+v %+v", web.UID, web.AdditionalGids)
	}
	if *web.Resources.Memory.Limit != 67108864 || *web.Resources.Pids.Limit != 64 {
		t.Errorf("resources: %+v", web.Resources)
	}
	if got := c.IDs()["web"]; got != 104 {
		t.Errorf("web has id %d, want 104", got)
	}
	if c.Onboot[1].Runtime.Interfaces[1].CreateInRoot != true || *c.Onboot[1].Runtime.BindNS.Net != "/run/netns/inner" {
		t.Errorf("runtime: %+v", c.Onboot[1].Runtime)
	}
}

func TestEmptyListIsNotAbsent(t *testing.T) {
	d, err := Parse("a.yml", []byte("services:\n  - name: a\n    image: x\n    capabilities: []\n    mounts: [{type: bind, source: /a, destination: /b, options: [ro]}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	s := d.Config.Services[0]
	if s.Capabilities == nil || s.Binds != nil {
		t.Errorf("capabilities %#v, binds %#v: an empty list must differ from none", s.Capabilities, s.Binds)
	}
	if s.Mounts[0].Destination != "/b" || s.Mounts[0].Options[0] != "ro" {
		t.Errorf("mounts: %+v", s.Mounts)
	}
}

func TestResources(t *testing.T) {
	for _, key := range []string{"blockIO", "blockio"} {
		src := "services:\n  - name: a\n    image: x\n    resources:\n      cpu: {shares: 2, cpus: 0-1}\n      devices: [{allow: true, type: c, major: 1}]\n" +
			"      memory: {limit: 1, disableOOMKiller: true}\n      hugepageLimits: [{pageSize: 2MB, limit: 3}]\n" +
			"      " + key + ": {weight: 10, throttleReadBpsDevice: [{major: 8, minor: 1, rate: 5}]}\n"
		d, err := Parse("a.yml", []byte(src))
		if err != nil {
			t.Fatal(err)
		}
		r := d.Config.Services[0].Resources.OCI()
		if *r.CPU.Shares != 2 || r.CPU.Cpus != "0-1" || !*r.Memory.DisableOOMKiller || r.HugepageLimits[0].Limit != 3 || *r.Devices[0].Major != 1 {
			t.Errorf("got %+v", r)
		}
		dev := r.BlockIO.ThrottleReadBpsDevice[0]
		if *r.BlockIO.Weight != 10 || dev.Rate != 5 || dev.Major != 8 || dev.Minor != 1 {
			t.Errorf("got %+v", r.BlockIO)
		}
	}
}

func TestErrorsNameFileLineAndField(t *testing.T) {
	tests := []struct {
		name, yaml string
		line       int
		field      string
	}{
		{"unknown field", "services:\n  - name: a\n    image: x\n    comand: [a]\n", 4, "services[0].comand"},
		{"unknown section", "kernel:\n  image: x\ninits: []\n", 3, "inits"},
		{"unknown field below", "onboot:\n  - name: a\n    image: x\n    runtime:\n      bindNS:\n        network: /x\n", 6, "onboot[0].runtime.bindNS.network"},
		{"unknown field of a mount", "onboot:\n  - name: a\n    image: x\n    mounts:\n      - dest: /x\n", 5, "onboot[0].mounts[0].dest"},
		{"wrong type", "services:\n  - name: a\n    image: x\n    readonly: 12\n", 4, "services[0].readonly"},
		{"unknown limit", "services:\n  - name: a\n    image: x\n    resources:\n      cpu:\n        share: 1\n", 6, "services[0].resources.cpu.share"},
		{"limit of wrong type", "services:\n  - name: a\n    image: x\n    resources:\n      pids:\n        limit: many\n", 6, "services[0].resources.pids.limit"},
		{"limits of wrong type", "services:\n  - name: a\n    image: x\n    resources: 7\n", 4, "services[0].resources"},
		{"bad uid", "services:\n  - name: a\n    image: x\n    uid: [1]\n", 4, "services[0].uid"},
		{"key twice", "kernel:\n  image: x\n  image: y\n", 3, "kernel.image"},
		{"no name", "services:\n  - image: x\n", 2, "services[0]"},
		{"no image", "onboot:\n  - name: x\n", 2, "onboot[0]"},
		{"service twice", "services:\n  - {name: a, image: x}\n  - {name: a, image: x}\n", 3, "services[1].name"},
		{"log of another", "services:\n  - {name: a, image: x}\n  - {name: a.out, image: x}\n", 3, "services[1].name"},
		{"cgroup of another", "services:\n  - {name: a, image: x, cgroupsPath: /p}\n  - {name: b, image: x, cgroupsPath: /p/c}\n  - name: c\n    image: x\n    cgroupsPath: /p/\n", 6, "services[2].cgroupsPath"},
		{"log of containerd", "services:\n  - {name: containerd, image: x}\n", 2, "services[0].name"},
		{"escaping name", "services:\n  - name: ../a\n    image: x\n", 2, "services[0].name"},
		{"bad volume", "volumes:\n  - name: A\n", 2, "volumes[0].name"},
		{"volume format", "volumes:\n  - name: a\n    format: ext4\n", 3, "volumes[0].format"},
		{"volume of no image", "volumes:\n  - name: a\n    format: oci\n", 2, "volumes[0].image"},
		{"platforms of files", "volumes:\n  - name: a\n    image: x\n    platforms: [linux/arm64]\n", 4, "volumes[0].platforms"},
		{"bad platform", "volumes:\n  - name: a\n    image: x\n    format: oci\n    platforms: [linux]\n", 5, "volumes[0].platforms[0]"},
		{"file without kind", "files:\n  - path: a\n", 2, "files[0]"},
		{"file of two kinds", "files:\n  - path: a\n    symlink: b\n    contents: c\n", 2, "files[0]"},
		{"bad mode", "files:\n  - path: a\n    contents: c\n    mode: 0o9\n", 4, "files[0].mode"},
		{"unknown owner", "files:\n  - path: a\n    contents: c\n    uid: web\n", 4, "files[0].uid"},
		{"hidden file", "files:\n  - path: a\n    contents: c\n  - contents: c\n    path: /dev//net/x\n", 5, "files[1].path"},
		{"hidden folder", "files:\n  - path: sys/x\n    directory: true\n", 2, "files[0].path"},
		{"file of keelson", "files:\n  - path: run/keelson/state/x\n    contents: c\n", 2, "files[0].path"},
		{"folder of init", "files:\n  - path: var/log\n    symlink: /persist/log\n", 2, "files[0].path"},
		{"syntax", "services:\n  - name: [a\n", 2, ""},
		{"two documents", "init: []\n---\ninit: []\n", 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("x.yml", []byte(tt.yaml))
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v, want an *Error", err)
			}
			if e.File != "x.yml" || e.Line != tt.line || tt.field != "" && e.Field != tt.field {
				t.Errorf("got %s:%d %q (%v), want line %d field %q", e.File, e.Line, e.Field, err, tt.line, tt.field)
			}
		})
	}
}

// Files below folders that init mounts on are copied there at boot.
func TestFilesBelowMounts(t *testing.T) {
	src := "files:\n  - {path: var/lib/x, contents: a}\n  - {path: run/x, directory: true}\n  - {path: /tmp/x, symlink: y}\n  - {path: var/log, directory: true}\n"
	if d, err := Parse("x.yml", []byte(src)); err != nil || len(d.Config.Files) != 4 {
		t.Errorf("got %v", err)
	}
}

func TestParseLabel(t *testing.T) {
	c, err := ParseLabel("img", `{"binds": ["/a:/b"], "capabilities.add": ["CAP_CHOWN"], "readonly": true}`)
	if err != nil || len(c.Binds) != 1 || len(c.CapabilitiesAdd) != 1 || !*c.Readonly {
		t.Errorf("got %+v, %v", c, err)
	}
	if _, err := ParseLabel("img", `{"name": "x"}`); err == nil || !strings.Contains(err.Error(), "img") {
		t.Errorf("a name in a label: got %v, want an error that names the image", err)
	}
}

func FuzzParse(f *testing.F) {
	src, err := os.ReadFile("../testdata/linuxkit-cli/rich.yml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(src)
	f.Add([]byte("services:\n  - {name: a, image: x, uid: 1}\n"))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("---\n---\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		d, err := Parse("f.yml", src)
		if (d == nil) == (err == nil) {
			t.Fatalf("got %v and %v", d, err)
		}
	})
}
