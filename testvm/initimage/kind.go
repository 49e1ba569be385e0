package initimage

import v1 "github.com/google/go-containerregistry/pkg/v1"

// Kind is what an image is for.
type Kind struct {
	Title   string
	Program string    // that the tree must have
	Config  v1.Config // besides the labels that all have
	nodes   bool      // with the device nodes of a root
}

// Kinds of images. The gate's has the command, the user and all settings of its service (docs/gate.md) in
// it; a YAML needs no more than its name and the files of /etc/keelson/gate.
var (
	Init = Kind{Title: "keelson", Program: "init", nodes: true}
	Gate = Kind{Title: "keelson-gate", Program: "usr/bin/gate", Config: v1.Config{
		Cmd: []string{"/usr/bin/gate", "--listen", "tcp://:7443"}, User: "64743:64743",
		Labels: map[string]string{"org.mobyproject.config": gateSettings},
	}}
)

// gateSettings are those of examples/gate.yml.
const gateSettings = `{"uid": 64743, "gid": 64743, "net": "host", "readonly": true, "noNewPrivileges": true,` +
	` "binds": ["/run/keelson/gate:/run/keelson/gate:ro", "/etc/keelson/gate:/etc/keelson/gate:ro"],` +
	` "annotations": {"keelson.restart": "always", "keelson.ready": "log:msg=listening", "keelson.seccomp": "default"}}`
