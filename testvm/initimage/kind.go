package initimage

import v1 "github.com/google/go-containerregistry/pkg/v1"

// Kind is what an image is for.
type Kind struct {
	Title   string
	Program string    // that the tree must have
	Config  v1.Config // besides the labels that all have
	// Packages are those of Debian whose programs the image has too, unless Options says otherwise.
	Packages string
	// Links to Program.
	Links []string
	nodes bool // with the device nodes of a root
}

// Kinds of images. The gate's has the command, the user and all settings of its service (docs/gate.md) in
// it; a YAML needs no more than its name and the files of /etc/keelson/gate. That of disk has the programs
// under the names that LinuxKit's packages format, mount, extend, dm-crypt and swap have; a YAML needs the
// command.
var (
	Init = Kind{Title: "keelson", Program: "init", nodes: true}
	Gate = Kind{Title: "keelson-gate", Program: "usr/bin/gate", Config: v1.Config{
		Cmd: []string{"/usr/bin/gate", "--listen", "tcp://:7443"}, User: "64743:64743",
		Labels: map[string]string{"org.mobyproject.config": gateSettings},
	}}
	Disk = Kind{Title: "keelson-disk", Program: "usr/bin/disk", Packages: "cryptsetup-bin,e2fsprogs,fdisk,util-linux",
		Links: []string{"usr/bin/crypto", "usr/bin/extend", "usr/bin/format", "usr/bin/mountie", "swap.sh"},
		Config: v1.Config{
			Cmd: []string{"/usr/bin/disk"}, Labels: map[string]string{"org.mobyproject.config": diskSettings},
		}}
)

// diskSettings suffice for all verbs but those with a key, for which a YAML binds its folder.
const diskSettings = `{"net": "new", "ipc": "new", "rootfsPropagation": "shared",` +
	` "binds": ["/dev:/dev", "/sys:/sys", "/var:/var:rshared,rbind"], "devices": [{"path": "all", "type": "b"}, {"path": "all", "type": "c"}],` +
	` "capabilities": ["CAP_SYS_ADMIN", "CAP_SYS_RESOURCE", "CAP_SYS_MODULE", "CAP_MKNOD", "CAP_IPC_LOCK", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER"]}`

// gateSettings are those of examples/gate.yml.
const gateSettings = `{"uid": 64743, "gid": 64743, "net": "host", "readonly": true, "noNewPrivileges": true,` +
	` "binds": ["/run/keelson/gate:/run/keelson/gate:ro", "/etc/keelson/gate:/etc/keelson/gate:ro"],` +
	` "annotations": {"keelson.restart": "always", "keelson.ready": "log:msg=listening", "keelson.seccomp": "default"}}`
