package image

import (
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"keelson/runtime/bundle"
	"keelson/testvm/image/tree"
)

// ownership maps the owners of a container's files to IDs of the machine
// (user_namespaces(7)). Its zero value changes nothing.
type ownership struct {
	uids, gids []specs.LinuxIDMapping
}

// ownershipOf returns the mappings of the user namespace that spec asks for. The
// runtime does not map the root file system: without this, files of the image's user 0
// would belong to nobody (65534) in a container whose user 0 is mapped.
func ownershipOf(spec *specs.Spec) ownership {
	return ownership{spec.Linux.UIDMappings, spec.Linux.GIDMappings}
}

// key identifies the mappings. It is empty for the zero value.
func (o ownership) key() string {
	if len(o.uids)+len(o.gids) == 0 {
		return ""
	}
	return fmt.Sprintf(" %v %v", o.uids, o.gids)
}

func (o ownership) apply(files *tree.Tree) {
	for _, e := range files.Entries() {
		files.Set(o.of(e))
	}
}

// of returns e with its owners on the machine.
func (o ownership) of(e tree.Entry) tree.Entry {
	e.UID, e.GID = onMachine(o.uids, e.UID), onMachine(o.gids, e.GID)
	return e
}

// onMachine returns the machine's ID for an ID of a container. An ID that is not mapped
// is returned unchanged: no user of the container has it.
func onMachine(mappings []specs.LinuxIDMapping, id int) int {
	if on, ok := bundle.OnMachine(mappings, uint32(id)); ok {
		return int(on)
	}
	return id
}
