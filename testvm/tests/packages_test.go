package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"keelson/runtime/imageconfig"
	"keelson/runtime/timeline"
	"keelson/testvm/image"
	"keelson/testvm/image/ocilayout"
	"keelson/testvm/image/tree"
	"keelson/testvm/qemu"
	"keelson/testvm/tier"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

// labels are the values of the label org.mobyproject.config of LinuxKit's packages
// (pkg/*/build.yml and Dockerfile there) that bind paths of the system's root, and of the
// packages of the default image.
var labels = map[string]string{
	"acpid":         `{"binds": ["/dev:/dev"], "devices": [{"path": "all", "type": "c", "major": 13}], "pid": "host"}`,
	"binfmt":        `{"binds": ["/proc/sys/fs/binfmt_misc:/binfmt_misc"], "capabilities": ["CAP_SYS_ADMIN"], "readonly": true, "net": "new", "ipc": "new"}`,
	"cadvisor":      `{"pid": "host", "binds": ["/var/lib/docker:/var/lib/docker:ro", "/var/run:/var/run", "/sys:/sys:ro", "/etc/resolv.conf:/etc/resolv.conf:ro"], "capabilities": ["all"]}`,
	"dhcpcd":        `{"binds": ["/run/resolvconf:/etc"], "capabilities": ["CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SYS_ADMIN"]}`,
	"dm-crypt":      `{"binds": ["/dev:/dev", "/etc/dm-crypt:/etc/dm-crypt"], "devices": [{"path": "all", "type": "a"}], "capabilities": ["CAP_SYS_ADMIN", "CAP_MKNOD"]}`,
	"extend":        `{"binds": ["/dev:/dev"], "devices": [{"path": "all", "type": "b"}], "capabilities": ["CAP_SYS_ADMIN", "CAP_MKNOD"], "net": "new", "ipc": "new"}`,
	"format":        `{"binds": ["/dev:/dev"], "devices": [{"path": "all", "type": "b"}], "capabilities": ["CAP_SYS_ADMIN", "CAP_MKNOD"], "net": "new", "ipc": "new"}`,
	"getty":         `{"pid": "host", "net": "host", ` + loginBinds + `], "devices": [` + loginDevices + `], "capabilities": ["all"]}`,
	"iscsid":        `{"binds": ["/run/resolvconf:/etc"], "capabilities": ["CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SYS_ADMIN"]}`,
	"kmsg":          `{"binds": ["/dev/kmsg:/dev/kmsg"], "capabilities": ["CAP_SYSLOG"]}`,
	"logwrite":      `{"binds": ["/var/run:/var/run", "/var/log:/var/log"]}`,
	"losetup":       `{"binds": ["/dev:/dev", "/var:/var"], "devices": [{"path": "all", "type": "b"}], "capabilities": ["CAP_SYS_ADMIN"]}`,
	"memlogd":       `{"binds": ["/var/run:/var/run"]}`,
	"metadata":      `{"binds": ["/dev:/dev", "/var:/var", "/run:/run", "/sys:/sys", "/etc/resolv.conf:/etc/resolv.conf", "/etc/ssl/certs:/etc/ssl/certs"], "tmpfs": ["/tmp"], "readonly": true, "capabilities": ["CAP_SYS_ADMIN", "CAP_NET_ADMIN"]}`,
	"mount":         `{"binds": ["/dev:/dev", "/var:/var:rshared,rbind"], "capabilities": ["CAP_SYS_ADMIN"], "rootfsPropagation": "shared", "net": "new", "ipc": "new"}`,
	"node_exporter": `{"pid": "host", "binds": ["/proc:/host/proc", "/sys:/host/sys", "/:/rootfs"], "capabilities": ["all"]}`,
	"sshd":          `{"pid": "host", ` + loginBinds + `, "/root/.ssh:/root/.ssh"], "capabilities": ["all"]}`,
	"swap":          `{"binds": ["/dev:/dev", "/var:/var"], "devices": [{"path": "all", "type": "a"}], "capabilities": ["CAP_SYS_ADMIN", "CAP_MKNOD"], "net": "new", "ipc": "new"}`,
	"sysctl":        `{"pid": "host", "readonly": true, "capabilities": ["CAP_SYS_ADMIN", "CAP_NET_ADMIN"]}`,
	"rngd":          `{"capabilities": ["CAP_SYS_ADMIN"], "oomScoreAdj": -800, "readonly": true, "net": "new", "ipc": "new"}`,
	"nginx":         ``,
}

const (
	loginBinds = `"binds": ["/etc/resolv.conf:/etc/resolv.conf", "/run:/run", "/tmp:/tmp", "/etc:/hostroot/etc",
		"/usr/bin/ctr:/usr/bin/ctr", "/usr/bin/runc:/usr/bin/runc", "/containers:/containers", "/var/log:/var/log",
		"/var/lib/containerd:/var/lib/containerd", "/dev:/dev", "/sys:/sys"`
	loginDevices = `{"path": "/dev/console", "type": "c", "major": 5, "minor": 1, "mode": "0666"},
		{"path": "/dev/tty0", "type": "c", "major": 4, "minor": 0, "mode": "0666"},
		{"path": "/dev/ttyS0", "type": "c", "major": 4, "minor": 64, "mode": "0666"},
		{"path": "/dev/ttyAMA0", "type": "c", "major": 204, "minor": 64, "mode": "0666"}`
)

// defaultImage is LinuxKit's linuxkit.yml except for kernel and init.
const defaultImage = `
onboot:
  - name: sysctl
    image: oci:PACKAGES/sysctl
  - name: dhcpcd
    image: oci:PACKAGES/dhcpcd
    command: ["/sbin/dhcpcd", "--nobackground", "-f", "/dhcpcd.conf", "-1"]
onshutdown:
  - name: shutdown
    image: deb:busybox-static
    command: ["/bin/busybox", "echo", "so long and thanks for all the fish"]
services:
  - name: getty
    image: oci:PACKAGES/getty
    env: [INSECURE=true]
  - name: rngd
    image: oci:PACKAGES/rngd
  - name: nginx
    image: oci:PACKAGES/nginx
    capabilities: [CAP_NET_BIND_SERVICE, CAP_CHOWN, CAP_SETUID, CAP_SETGID, CAP_DAC_OVERRIDE]
  AGENT
files:
  - path: etc/linuxkit-config
    metadata: yaml
`

// minimalImage is LinuxKit's examples/minimal.yml except for kernel and init, with all
// other packages after its own.
const minimalImage = `
onboot:
  - name: dhcpcd
    image: oci:PACKAGES/dhcpcd
    command: ["/sbin/dhcpcd", "--nobackground", "-f", "/dhcpcd.conf", "-1"]
ONBOOT
services:
  - name: getty
    image: oci:PACKAGES/getty
    env: [INSECURE=true]
SERVICES
  AGENT
`

// oneShots are the packages for onboot.
var oneShots = []string{"sysctl", "metadata", "binfmt", "dm-crypt", "extend", "format", "losetup", "mount", "swap"}

// packages returns a folder with an OCI layout for each of labels. A script replaces the
// program of the package; it ends immediately if it has an argument.
func packages(t *testing.T) string {
	t.Helper()
	tier.Tool(t, "busybox", "busybox-static")
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, label := range labels {
		files := tree.New()
		for path, data := range map[string]string{"bin/busybox": string(program), "sbin/dhcpcd": "#!/bin/busybox sh\n[ -n \"$1\" ] || exec /bin/busybox sleep 100000\n"} {
			files.MkdirAll(filepath.Dir(path), 0o755, 0, 0)
			files.Set(tree.Entry{Path: path, Type: tree.File, Mode: 0o755, Data: []byte(data)})
		}
		for _, dir := range []string{"binfmt_misc", "etc/ssl/certs", "run", "tmp", "var"} { // mount points of read-only packages
			files.MkdirAll(dir, 0o755, 0, 0)
		}
		command := []string{"/sbin/dhcpcd"}
		if slices.Contains(oneShots, name) {
			command = append(command, "once")
		}
		img, err := ocilayout.Image(files, ocilayout.Options{Arch: qemu.AMD64, Time: time.Unix(0, 0),
			Config: v1.Config{Cmd: command, Labels: map[string]string{imageconfig.Label: label}}})
		if err != nil {
			t.Fatal(err)
		}
		to, err := layout.Write(filepath.Join(dir, name), empty.Index)
		if err == nil {
			err = to.AppendImage(img, layout.WithPlatform(v1.Platform{OS: "linux", Architecture: qemu.AMD64}))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// entries returns containers of packages, as lines of a section.
func entries(names ...string) string {
	var text strings.Builder
	for _, name := range names {
		text.WriteString("  - {name: " + name + ", image: \"oci:PACKAGES/" + name + "\"}\n")
	}
	return strings.TrimSuffix(text.String(), "\n")
}

// ofPackages builds sections in which PACKAGES stands for the folder of packages.
func ofPackages(t *testing.T, name, sections string, overlays ...string) image.Output {
	t.Helper()
	return build(t, name, strings.ReplaceAll(sections, "PACKAGES", packages(t)), overlays...)
}

// LinuxKit's default image works with keelson in place of its init and no other change:
// all paths that its containers bind exist.
func TestLinuxKitDefaultImage(t *testing.T) {
	t.Parallel()
	tier.VM(t)
	certificates := t.TempDir()
	withFolder(t, filepath.Join(certificates, "etc/ssl/certs/ca-certificates.crt"), func(path string) error { return os.WriteFile(path, nil, 0o644) })
	v := vmtest.Boot(t, machine(t, ofPackages(t, "linuxkit-default", defaultImage, certificates)))
	checkAllUp(t, v)
	v.SignalInit(sigUSR2)
	v.Exit(vm.PoweredDown)
}

// LinuxKit's smallest example works with every package that binds paths of the root.
func TestLinuxKitPackages(t *testing.T) {
	t.Parallel()
	tier.VM(t)
	sections := strings.NewReplacer(
		"ONBOOT", entries(oneShots...),
		"SERVICES", entries("sshd", "acpid", "cadvisor", "iscsid", "kmsg", "logwrite", "memlogd", "node_exporter")).Replace(minimalImage)
	v := vmtest.Boot(t, machine2(t, ofPackages(t, "linuxkit-packages", sections)))
	checkAllUp(t, v)
	checkUsualPaths(t, v)
	for _, name := range []string{"getty", "sshd"} {
		out := v.Output("/usr/bin/ctr", "-n", "services.linuxkit", "tasks", "exec", "--exec-id", "x", name, "/usr/bin/ctr", "-n", "services.linuxkit", "tasks", "ls", "-q")
		if !strings.Contains(out, name+"\n") {
			t.Errorf("ctr in %s printed %q", name, out)
		}
	}
	v.SignalInit(sigUSR2)
	v.Exit(vm.PoweredDown)
}

// checkAllUp checks that all onboot containers succeed and all services run.
func checkAllUp(t *testing.T, v *vmtest.VM) {
	t.Helper()
	v.Stage(timeline.Ready) // On a busy host it may be degraded before.
	for _, e := range v.Timeline() {
		if e.Stage == timeline.Onboot && e.Result != "exited 0" {
			t.Errorf("%s", e)
		}
	}
}

// checkUsualPaths checks files and folders that programs expect in any root.
func checkUsualPaths(t *testing.T, v *vmtest.VM) {
	t.Helper()
	if text := v.File("/etc/os-release"); !strings.Contains(text, "ID=keelson\n") || !strings.Contains(text, "VERSION_ID=\"") || strings.Contains(text, "dirty") {
		t.Errorf("/etc/os-release: %q", text)
	}
	zone, err := time.LoadLocationFromTZData("UTC", []byte(v.File("/etc/localtime")))
	if err != nil {
		t.Fatalf("/etc/localtime: %v", err)
	}
	if name, offset := time.Unix(1e9, 0).In(zone).Zone(); name != "UTC" || offset != 0 {
		t.Errorf("/etc/localtime has the zone %s, %d s from UTC", name, offset)
	}
	paths := map[string]string{"/home": "755", "/media": "755", "/mnt": "755", "/opt": "755", "/srv": "755", "/root": "700", "/root/.ssh": "700"}
	for path, mode := range paths {
		const stat = "/containers/services/getty/rootfs/bin/busybox"
		if got := strings.TrimSpace(v.Output(stat, "stat", "-c", "%a", path)); got != mode {
			t.Errorf("%s has mode %s, want %s", path, got, mode)
		}
	}
}
