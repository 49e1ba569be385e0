package tests

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"keelson/runtime/timeline"
	"keelson/testvm/image"
	"keelson/testvm/tier"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

// contract uses what LinuxKit's YAML offers for containers: volumes, namespaces that one
// container prepares for another, limits, cgroups made in advance.
const contract = `
files:
  - {path: var/lib/site/data, contents: "of the image", mode: "0640", uid: 70, gid: 71}
  - {path: var/log/containerd, directory: true, mode: "0755"}
  - {path: run/site/link, symlink: /var/lib/site/data}
  - {path: tmp/site, contents: "temporary", mode: "0600"}
volumes:
  - name: shared
  - name: seeded
    image: dir:SEED
    readonly: true
  - name: seededrw
    image: dir:SEED
onboot:
  - name: netns
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-ec", "ip link set lo up; ip addr add 10.77.0.2/24 dev inner; ip link set inner up; ip link show wg0; ip link show bridge0"]
    net: new
    capabilities: [CAP_NET_ADMIN]
    runtime:
      interfaces:
        - {name: inner, add: veth, peer: outer}
        - {name: wg0, add: wireguard, createInRoot: true}
        - {name: bridge0, add: bridge}
      bindNS:
        net: /run/netns/inner
  - name: writer
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-ec", "echo onboot >/shared/from-onboot; cat /seeded/seed; echo more >>/seededrw/seed; ! touch /seeded/x"]
    capabilities: [CAP_DAC_OVERRIDE]
    binds: ["shared:/shared", "seeded:/seeded:ro", "seededrw:/seededrw"]
  - name: mounts
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-ec", "touch /given/file; mount | grep ' /given '; test -d /var/lib/made; test -d /relative/made; echo x >/over/upper-file; test -e /over/seed"]
    net: host
    capabilities: [CAP_DAC_OVERRIDE]
    binds: ["/var/lib/made:/var/lib/made"]
    runtime:
      mkdir: [/var/lib/made, relative/made]
      mounts:
        - {type: tmpfs, source: tmpfs, destination: given, options: [size=1m]}
        - {type: tmpfs, source: tmpfs, destination: /var/lib/overlay}
        - {type: overlay, source: overlay, destination: over, options: ["lowerdir=/containers/volumes/seeded/lower,upperdir=/var/lib/overlay/a/upper,workdir=/var/lib/overlay/a/work"]}
services:
  AGENT
  - name: inside
    image: dir:PAYLOAD
    command: ["/testapp", "serve", "10.77.0.2:8080", "hello from inside"]
    net: /run/netns/inner
    readonly: true
  - name: reader
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-c", "cat /shared/from-onboot /seeded/seed /seededrw/seed; echo service >/shared/from-service; exec sleep 100000"]
    capabilities: [CAP_DAC_OVERRIDE]
    binds: ["shared:/shared", "seeded:/seeded:ro", "seededrw:/seededrw"]
  - name: everyns
    image: dir:PAYLOAD
    command: ["/testapp", "sleep"]
    readonly: true
    net: new
    ipc: new
    uts: new
    runtime:
      bindNS: {cgroup: /run/ns/cgroup, ipc: /run/ns/ipc, mnt: /run/ns/mnt, net: /run/ns/net, pid: /run/ns/pid, user: /run/ns/user, uts: /run/ns/uts}
  - name: mapped
    image: dir:PAYLOAD
    command: ["/testapp", "ready"]
    readonly: true
    annotations: {keelson.ready: notify}
    userns: new
    net: new
    ipc: new
    uts: new
    uidMappings: [{containerID: 0, hostID: 100000, size: 65536}]
    gidMappings: [{containerID: 0, hostID: 100000, size: 65536}]
  - name: target
    image: dir:PAYLOAD
    command: ["/testapp", "stubborn"]
    readonly: true
    annotations: {keelson.stop.timeout: 100ms}
  - name: remote
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-ec", "service stop target; ! service status target; service start target; service restart target; service logs target; echo did; exec sleep 100000"]
    binds: ["/usr/bin/service:/usr/bin/service", "/containers:/containers", "/run:/run", "/var/log:/var/log"]
` + limitedServices

func contractImage(t *testing.T) image.Output {
	t.Helper()
	tier.VM(t)
	seed := vmtest.Folder(t, "seed")
	put(t, filepath.Join(seed, "seed"), []byte("seed\n"), 0o644)
	return build(t, "contract", strings.ReplaceAll(contract, "SEED", seed), toolbox(t))
}

// The promises of LinuxKit's YAML and runtime.json hold with both versions of cgroups.
func TestContract(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, append, stage string }{
		{"v2", "", timeline.Ready},
		{"v1", cgroupV1, timeline.Degraded}, // A service is refused.
	} {
		t.Run("cgroup "+c.name, func(t *testing.T) {
			if c.append == cgroupV1 {
				tier.Long(t) // TestLimitsOnCgroupV1 checks what differs.
			}
			config := machine2(t, contractImage(t)) // Many services start at the same time.
			config.Append += c.append
			v := vmtest.Boot(t, config)
			v.Stage(c.stage)
			t.Run("onboot", func(t *testing.T) { checkAllExited(t, v) })
			t.Run("prepared network namespace", func(t *testing.T) { checkPreparedNetwork(t, v) })
			t.Run("files", func(t *testing.T) { checkCoveredFiles(t, v) })
			t.Run("volumes", func(t *testing.T) { checkVolumes(t, v) })
			t.Run("bindNS", func(t *testing.T) { checkBoundNamespaces(t, v) })
			t.Run("service from a container", func(t *testing.T) { checkRemoteControl(t, v) })
			t.Run("notify socket", func(t *testing.T) { checkNotifySocket(t, v) })
			t.Run("user namespace", func(t *testing.T) { checkUserNamespace(t, v) })
			t.Run("mounts", func(t *testing.T) { checkMounts(t, v, c.name) })
			t.Run("limits", func(t *testing.T) { checkLimits(t, v, c.name) })
			t.Run("nested cgroups", func(t *testing.T) { checkNested(t, v, c.name) })
			t.Run("delegated cgroups", func(t *testing.T) { checkDelegated(t, v, c.name) })
			t.Run("rootfs is unmounted", func(t *testing.T) { checkReleased(t, v) })
			v.SignalInit(sigUSR2)
			v.Exit(vm.PoweredDown)
		})
	}
}

func checkAllExited(t *testing.T, v *vmtest.VM) {
	n := 0
	for _, e := range v.Timeline() {
		if e.Stage == timeline.Onboot {
			n++
			if e.Result != "exited 0" {
				t.Errorf("%v", e)
			}
		}
	}
	if n != 3 {
		t.Errorf("%d onboot containers ran, want 3", n)
	}
}

// Files of the image are visible below init's mounts. An initramfs does not keep a second
// copy of them.
func checkCoveredFiles(t *testing.T, v *vmtest.VM) {
	for path, want := range map[string]string{
		"/var/lib/site/data": "640 70 71 regular file", "/var/log/containerd": "755 0 0 directory",
		"/run/site/link": "777 0 0 symbolic link", "/tmp/site": "600 0 0 regular file",
	} {
		if got := v.Output("/usr/bin/busybox", "stat", "-c", "%a %u %g %F", path); got != want+"\n" {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	if text := v.File("/run/site/link"); text != "of the image" {
		t.Errorf("the file holds %q", text)
	}
	// The copy of the root is private: a container that starts meanwhile mounts nothing in it.
	v.Output("/usr/bin/busybox", "unshare", "-m", "/usr/bin/busybox", "sh", "-ec", `
		mkdir /run/below
		mount --bind / /run/below
		test -d /run/below/var/lib/site
		! test -e /run/below/var/lib/site/data`)
}

func checkPreparedNetwork(t *testing.T, v *vmtest.VM) {
	v.Output("/usr/bin/busybox", "ip", "addr", "add", "10.77.0.1/24", "dev", "outer")
	v.Output("/usr/bin/busybox", "ip", "link", "set", "outer", "up")
	// The service runs, but may not listen yet.
	out := v.Output("/usr/bin/busybox", "sh", "-c", "until busybox nc -w 60 10.77.0.2 8080; do busybox usleep 50000; done")
	if out != "hello from inside\n" {
		t.Errorf("the service in the namespace answers %q", out)
	}
	if links := v.Output("/usr/bin/busybox", "ip", "link"); strings.Contains(links, "wg0") || strings.Contains(links, "bridge0") {
		t.Errorf("links of the container are in the system's namespace:\n%s", links)
	}
}

func checkVolumes(t *testing.T, v *vmtest.VM) {
	v.Output("/usr/bin/busybox", "sh", "-c", "until [ -s /containers/volumes/shared/merged/from-service ]; do busybox usleep 10000; done")
	until(t, func() string { // Output is copied to the log independently of the service.
		if out := v.File("/var/log/reader.out.log"); out != "onboot\nseed\nseed\nmore\n" {
			return fmt.Sprintf("the service reads %q", out)
		}
		return ""
	})
	if err := v.File("/var/log/reader.log"); err != "" {
		t.Errorf("errors of the service: %s", err)
	}
}

func checkBoundNamespaces(t *testing.T, v *vmtest.VM) {
	pid := mainPID(t, v, "everyns")
	for _, ns := range []string{"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"} {
		want := v.Output("/usr/bin/busybox", "stat", "-Lc", "%i", fmt.Sprintf("/proc/%d/ns/%s", pid, ns))
		if got := v.Output("/usr/bin/busybox", "stat", "-Lc", "%i", "/run/ns/"+ns); got != want {
			t.Errorf("/run/ns/%s is namespace %s, want %s", ns, got, want)
		}
	}
}

// A container that has the command `service` and its socket controls other services.
func checkRemoteControl(t *testing.T, v *vmtest.VM) {
	v.Output("/usr/bin/busybox", "sh", "-c", "until grep -q did /var/log/remote.out.log || service status remote | grep -q exited; do busybox usleep 50000; done")
	if text := v.File("/var/log/remote.log"); text != "" {
		t.Errorf("errors of the service: %s", text)
	}
}

func checkNotifySocket(t *testing.T, v *vmtest.VM) {
	if env := v.File(fmt.Sprintf("/proc/%d/environ", mainPID(t, v, "mapped"))); !strings.Contains(env, "NOTIFY_SOCKET=/dev/keelson/notify\x00") {
		t.Errorf("environment %q", env)
	}
}

func checkUserNamespace(t *testing.T, v *vmtest.VM) {
	pid := mainPID(t, v, "mapped")
	uids := v.File(fmt.Sprintf("/proc/%d/uid_map", pid))
	if got := strings.Fields(uids); !slices.Equal(got, []string{"0", "100000", "65536"}) {
		t.Errorf("the container's user ids are mapped as %q", uids)
	}
	root := fmt.Sprintf("/proc/%d/root", pid)
	if owners := v.Output("/usr/bin/busybox", "stat", "-c", "%u:%g", root+"/", root+"/testapp"); owners != "100000:100000\n100000:100000\n" {
		t.Errorf("the container's files belong to %q", owners)
	}
}

var pidOf = regexp.MustCompile(`"pid": (\d+)`)

func mainPID(t *testing.T, v *vmtest.VM, service string) int {
	t.Helper()
	out := v.Output("/usr/bin/service", "status", "--json", service)
	m := pidOf.FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("%s has no process: %s", service, out)
	}
	pid, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// The root file system of a one-shot container is unmounted when it has ended.
func checkReleased(t *testing.T, v *vmtest.VM) {
	for line := range strings.Lines(v.File("/proc/1/mountinfo")) {
		if strings.Contains(line, " /containers/onboot/") {
			t.Errorf("still mounted: %s", line)
		}
	}
}
