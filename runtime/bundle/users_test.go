package bundle

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// isolated returns config.json with annotations and other parts.
func isolated(annotations, process, mounts, linux string) string {
	return `{"process":{"args":["a"]` + process + `},"root":{"path":"r"},"mounts":[` + mounts + `],"annotations":{` + annotations + `},"linux":{` + linux + `}}`
}

const (
	autoUsers = `"keelson.userns":"auto"`
	ownSpaces = `"namespaces":[{"type":"pid"},{"type":"mount"}]`
)

// With keelson.userns, the container has a user namespace, and binds of the machine's file
// systems that it cannot mount there.
func TestEditedUsers(t *testing.T) {
	const (
		users = `"uidMappings":[{"containerID":0,"hostID":589824,"size":65536}],"gidMappings":[{"containerID":0,"hostID":589824,"size":65536}]`
		sysfs = `{"destination":"/sys","type":"sysfs","source":"sysfs","options":["nosuid"]}`
		queue = `{"destination":"/dev/mqueue","type":"mqueue","source":"mqueue","options":["ro"]}`
		other = `{"destination":"/proc","type":"proc","newer":1}`
	)
	for _, c := range []struct{ mounts, namespaces, want string }{
		{other, ``, other},
		{sysfs + "," + queue, ``, `{"destination":"/sys","type":"bind","source":"/sys","options":["rbind","nosuid","noexec","nodev","ro"]},
			{"destination":"/dev/mqueue","type":"bind","source":"/dev/mqueue","options":["rbind","nosuid","noexec","nodev","ro"]}`},
		{sysfs + "," + queue, `,{"type":"network"},{"type":"ipc"}`, sysfs + "," + queue},
		{sysfs, `,{"type":"network","path":"/run/netns/a"}`, `{"destination":"/sys","type":"bind","source":"/sys","options":["rbind","nosuid","noexec","nodev","ro"]}`},
	} {
		namespaces := `{"type":"pid"},{"type":"mount"}` + c.namespaces
		b := loaded(t, isolated(autoUsers, ``, c.mounts, `"namespaces":[`+namespaces+`],"newer":1`))
		if _, err := b.Edited(Edit{}); err == nil {
			t.Error("edited without IDs")
		}
		b.FirstID = 589824
		got, err := b.Edited(Edit{})
		if err != nil {
			t.Fatal(err)
		}
		want := isolated(autoUsers, ``, c.want, `"namespaces":[`+namespaces+`,{"type":"user"}],"newer":1,`+users)
		want = strings.Replace(want, `"path":"r"`, `"path":"`+b.Rootfs()+`"`, 1)
		if exact(t, got) != exact(t, []byte(want)) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// keelson.capabilities replaces all sets of the configuration.
func TestEditedCapabilities(t *testing.T) {
	const old = `,"capabilities":{"bounding":["CAP_SYS_ADMIN"],"ambient":["CAP_SYS_ADMIN"],"inheritable":["CAP_SYS_ADMIN"]}`
	for _, name := range CapabilitySets() {
		b := loaded(t, isolated(`"keelson.capabilities":"`+name+`"`, old, ``, ``))
		text, err := b.Edited(Edit{})
		if err != nil {
			t.Fatal(err)
		}
		again := loaded(t, strings.Replace(string(text), "keelson.capabilities", "other", 1))
		for _, caps := range []*specs.LinuxCapabilities{b.Spec.Process.Capabilities, again.Spec.Process.Capabilities} {
			if caps == nil {
				t.Fatalf("%s: all capabilities: %s", name, text)
			}
			for _, set := range [][]string{caps.Bounding, caps.Effective, caps.Permitted} {
				if !slices.Equal(set, capabilitySets[name]) {
					t.Errorf("%s: %v", name, set)
				}
			}
			if len(caps.Ambient)+len(caps.Inheritable) != 0 {
				t.Errorf("%s: %+v", name, caps)
			}
		}
		if b.Settings.Capabilities != name || !b.Edits() {
			t.Errorf("%s: %+v", name, b.Settings)
		}
	}
}

// The sets have as many capabilities as their sources name, and only known ones.
func TestCapabilitySets(t *testing.T) {
	if got := CapabilitySets(); !slices.Equal(got, []string{"docker-default", "none", "podman-default"}) {
		t.Errorf("sets %v", got)
	}
	if d, p := capabilitySets["docker-default"], capabilitySets["podman-default"]; len(d) != 14 || len(p) != 11 {
		t.Errorf("%d and %d", len(d), len(p))
	}
}

// A bundle whose isolation cannot be applied is refused, with file and field.
func TestLoadRefusesIsolation(t *testing.T) {
	const mapping = `[{"containerID":0,"hostID":1000,"size":10}]`
	for _, c := range []struct{ config, field string }{
		{isolated(`"keelson.userns":"yes"`, ``, ``, ownSpaces), "annotations.keelson.userns"},
		{isolated(`"keelson.capabilities":"all"`, ``, ``, ownSpaces), "annotations.keelson.capabilities"},
		{isolated(autoUsers, ``, ``, `"namespaces":[{"type":"pid"},{"type":"mount"},{"type":"user"}],"uidMappings":`+mapping), "linux.namespaces"},
		{isolated(autoUsers, ``, ``, ownSpaces+`,"uidMappings":`+mapping), "linux.uidMappings"},
		{isolated(autoUsers, ``, ``, ownSpaces+`,"gidMappings":`+mapping), "linux.gidMappings"},
		{isolated(autoUsers, ``, ``, `"namespaces":[{"type":"pid"}]`), "linux.namespaces"},
		{isolated(autoUsers, ``, `{"destination":"/proc","type":"proc"}`, `"namespaces":[{"type":"mount"}]`), "mounts"},
		{isolated(autoUsers, `,"user":{"uid":65536}`, ``, ownSpaces), "process.user"},
		{isolated(autoUsers, `,"user":{"uid":1,"gid":70000}`, ``, ownSpaces), "process.user"},
		{isolated(autoUsers, `,"user":{"uid":1,"additionalGids":[1,70000]}`, ``, ownSpaces), "process.user"},

		{isolated(autoUsers, `,"user":{"uid":65535}`, `{"destination":"/proc","type":"proc"}`, ownSpaces), ""},
		{isolated(autoUsers, ``, ``, `"namespaces":[{"type":"mount"}]`), ""},
		{isolated(`"keelson.userns":"host","keelson.capabilities":"none"`, ``, ``, `"uidMappings":`+mapping), ""},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, ConfigFile)
		if err := os.WriteFile(path, []byte(c.config), 0o644); err != nil {
			t.Fatal(err)
		}
		b, err := Load(dir)
		if c.field == "" {
			if err != nil {
				t.Errorf("%s: %v", c.config, err)
			}
			continue
		}
		if want := path + ": field " + c.field + ": "; err == nil || b != nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", c.config, err, want)
		}
	}
}
