package image

import (
	"strings"
	"testing"

	"keelson/testvm/image/source"
	"keelson/testvm/image/tree"
)

// The files of a container with a user namespace belong to the users of the machine to which
// its own are mapped; those of other containers of the image do not.
func TestOwnersInUserNamespaces(t *testing.T) {
	files := tree.New()
	files.Set(tree.Entry{Path: "app", Type: tree.File, Mode: 0o755})
	files.Set(tree.Entry{Path: "data", Type: tree.Dir, Mode: 0o700, UID: 7, GID: 9})
	files.Set(tree.Entry{Path: "far", Type: tree.File, UID: 70000, GID: 70000})
	a, err := assemble(t, "a.yml", []byte(`
services:
  - {name: plain, image: x, command: [/app]}
  - name: mapped
    image: x
    command: [/app]
    userns: new
    net: new
    uidMappings: &m [{containerID: 0, hostID: 100000, size: 65536}]
    gidMappings: [{containerID: 0, hostID: 200000, size: 65536}]
  - {name: again, image: x, command: [/app], readonly: true, userns: new, net: new, uidMappings: *m, gidMappings: [{containerID: 0, hostID: 200000, size: 65536}]}
  - {name: other, image: x, command: [/app], readonly: true, userns: new, net: new, uidMappings: *m, gidMappings: *m}
`), given{"x": &source.Image{Files: files}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path     string
		uid, gid int
	}{
		{"plain/lower", 0, 0}, {"plain/lower/app", 0, 0}, {"plain/lower/data", 7, 9},
		{"mapped/lower", 100000, 200000}, {"mapped/lower/app", 100000, 200000}, {"mapped/lower/data", 100007, 200009},
		{"mapped/lower/etc/hosts", 100000, 200000}, {"mapped/lower/far", 70000, 70000},
		{"other/rootfs", 100000, 100000}, {"other/rootfs/app", 100000, 100000},
	} {
		if e, ok := a.root.Get("containers/services/" + c.path); !ok || e.UID != c.uid || e.GID != c.gid {
			t.Errorf("%s belongs to %d:%d (there: %v), want %d:%d", c.path, e.UID, e.GID, ok, c.uid, c.gid)
		}
	}
	if e, _ := a.root.Get("containers/services/again/runtime.json"); !strings.Contains(string(e.Data), `"/containers/services/mapped/lower"`) {
		t.Errorf("the files are there twice: %s", e.Data)
	}
}
