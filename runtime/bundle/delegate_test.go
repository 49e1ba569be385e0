package bundle

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const delegates = `"keelson.delegate":"true"`

// A service with keelson.delegate has a cgroup namespace, and a writable mount of it in place of
// the one that its configuration has.
func TestEditedDelegation(t *testing.T) {
	const (
		proc     = `{"destination":"/proc","type":"proc","newer":1}`
		readOnly = `{"destination":"/sys/fs/cgroup/","type":"cgroup","source":"cgroup","options":["ro"]}`
		writable = `{"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup","options":["nosuid","noexec","nodev","relatime","rw"]}`
		spaces   = `"namespaces":[{"type":"pid"},{"type":"mount"}`
	)
	for _, c := range []struct{ mounts, namespaces, want string }{
		{``, ``, writable},
		{proc, ``, proc + "," + writable},
		{readOnly + "," + proc, `,{"type":"cgroup"}`, proc + "," + writable},
	} {
		b := loaded(t, isolated(delegates, ``, c.mounts, spaces+c.namespaces+`],"newer":1`))
		got, err := b.Edited(Edit{Delegate: true})
		if err != nil {
			t.Fatal(err)
		}
		want := isolated(delegates, ``, c.want, spaces+`,{"type":"cgroup"}],"newer":1`)
		want = strings.Replace(want, `"path":"r"`, `"path":"`+b.Rootfs()+`"`, 1)
		if exact(t, got) != exact(t, []byte(want)) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestRefusedDelegation(t *testing.T) {
	for _, c := range []struct{ mounts, linux, field string }{
		{``, `"namespaces":[{"type":"mount"},{"type":"cgroup","path":"/run/ns/cgroup"}]`, `linux.namespaces: bad value "/run/ns/cgroup"`},
		{``, ``, "linux.namespaces"},
		{`{"destination":"/sys/fs/cgroup","type":"bind","source":"/sys/fs/cgroup"}`, ownSpaces, `mounts: bad value "/sys/fs/cgroup"`},
		{`{"destination":"/sys/fs/cgroup/x","type":"tmpfs"}`, ownSpaces, `mounts: bad value "/sys/fs/cgroup/x"`},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, ConfigFile)
		config := isolated(delegates, ``, c.mounts, c.linux)
		if err := os.WriteFile(path, []byte(config), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), path+": field "+c.field) || !strings.Contains(err.Error(), "keelson.delegate") {
			t.Errorf("%s: error %v", config, err)
		}
		if err := os.WriteFile(path, []byte(strings.Replace(config, `"true"`, `"false"`, 1)), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir); err != nil {
			t.Errorf("without the annotation: %v", err)
		}
	}
}

func TestRootID(t *testing.T) {
	for config, want := range map[string]uint32{
		isolated(``, ``, ``, ownSpaces): 0,
		isolated(``, ``, ``, `"namespaces":[{"type":"user"}],"uidMappings":[{"containerID":0,"hostID":100000,"size":10}]`): 100000,
		isolated(autoUsers, ``, ``, ownSpaces): 589824,
	} {
		b := loaded(t, config)
		if b.OwnUsers() {
			b.FirstID = 589824
		}
		if got := b.RootID(); got != want {
			t.Errorf("%s: %d, want %d", config, got, want)
		}
	}
}
