package nstest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

const goarch = runtime.GOARCH

// cgroup holds those of the containers of this process's tests. Hierarchies are
// the machine's own, where other tests may have services of the same name.
var cgroup = fmt.Sprintf("keelson-test-%08x", rand.Uint32())

// removeCgroups takes away those that are empty.
func removeCgroups() {
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 3 || f[2] != "cgroup" && f[2] != "cgroup2" {
			continue
		}
		root := filepath.Join(f[1], cgroup)
		var dirs []string
		_ = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for _, dir := range slices.Backward(dirs) {
			_ = os.Remove(dir)
		}
	}
}

// config is a config.json as LinuxKit's CLI would write it for a small
// privileged container without a terminal.
func config(t *testing.T, name, script string, annotations map[string]string) []byte {
	t.Helper()
	caps := []string{"CAP_KILL", "CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_CHOWN"}
	spec := specs.Spec{
		Version: "1.2.1",
		Process: &specs.Process{
			Args: []string{"/bin/sh", "-c", script}, Cwd: "/",
			Env:          []string{"PATH=/bin"},
			Capabilities: &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps},
		},
		Root: &specs.Root{Path: "rootfs"},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"mode=755"}},
		},
		Annotations: annotations,
		Linux: &specs.Linux{CgroupsPath: filepath.Join("/", cgroup, name), Namespaces: []specs.LinuxNamespace{
			{Type: specs.PIDNamespace}, {Type: specs.MountNamespace}, {Type: specs.NetworkNamespace}, {Type: specs.UTSNamespace},
		}},
	}
	data, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
