package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keelson/testvm/image"
	"keelson/testvm/nstest"
	"keelson/testvm/qemu"
	"keelson/testvm/vm/vmtest"
)

// yaml is the system. No fault is aimed at redis.
const yaml = `
KERNEL
init: [keelson, "deb:busybox-static", "dir:TOOLS"]
services:
  - name: redis
    image: deb:redis-server
    command: ["/usr/bin/redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--dir", "/data", "--appendonly", "yes", "--appendfsync", "always", "--save", ""]
    net: host
    binds: ["/var/lib/redis:/data"]
    runtime:
      mounts: # Redis exits when it cannot write.
        - {type: tmpfs, source: tmpfs, destination: /var/lib/redis, options: [size=128m]}
    annotations:
      keelson.ready: tcp:6379
  - name: count
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-c", "trap 'exit 0' TERM; read up rest < /proc/uptime; i=0; while :; do echo $up $i; i=$((i+1)); busybox usleep 20000; done"]
    annotations:
      keelson.restart: always
      keelson.log.size: 64MiB
  - name: sidecar
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-c", "trap 'exit 0' TERM; busybox sleep 100000 & wait"]
    net: host
    annotations:
      keelson.restart: always
      keelson.listen: tcp:127.0.0.1:8081
  - name: web
    image: deb:busybox-static
    command: ["/bin/busybox", "httpd", "-f", "-p", "127.0.0.1:8080"]
    net: host
    annotations:
      keelson.restart: always
      keelson.after: sidecar
      keelson.ready: tcp:8080
      keelson.health: tcp:8080
      keelson.health.interval: 500ms
  - name: rude
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-c", "trap '' TERM; while :; do busybox sleep 1; done"]
    annotations:
      keelson.restart: always
      keelson.requires: web
      keelson.stop.timeout: 50ms
`

// services are the targets of faults.
var services = []string{"count", "sidecar", "web", "rude"}

// inMachine is the additional service in a machine.
const inMachine = `
  - name: agent
    image: dir:TOOLS
    command: ["/usr/bin/agent"]
    net: host
    pid: host
    readonly: true
    capabilities: [all]
    devices: [{path: all, type: c}]
    binds: ["/dev:/dev"]
`

// kernel sets an environment variable of /init: the kernel passes on parameters that it
// does not know (admin-guide/kernel-parameters.rst).
const kernel = `
kernel:
  image: %s
  cmdline: "console=ttyS0 quiet keelson.reserve=on %s=%s ip=10.0.2.15::10.0.2.2:255.255.255.0::eth0:none:10.0.2.3"
`

// orphanage is a child of PID 1, so that its orphans become children of PID 1; those of a
// container become children of a shim. It reads how many to make.
const orphanage = `#!/bin/busybox sh
busybox mkfifo /run/orphanage
while read n; do
	i=0
	while [ $i -lt $n ]; do (: & :) & i=$((i+1)); done
	wait
done <>/run/orphanage &
`

// buildImage builds the image for namespaces or for a machine.
func buildImage(t *testing.T, machine bool) image.Output {
	t.Helper()
	dir := t.TempDir()
	tools := filepath.Join(dir, "tools")
	files := map[string]string{"etc/init.d/020-orphanage": orphanage, "usr/bin/.keep": ""}
	root := image.RootLayers
	if machine { // The host's kernel may have no dm-verity.
		root = image.RootErofs
	}
	putArtifacts(t, files, root)
	for path, text := range files {
		path = filepath.Join(tools, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	vmtest.Program(t, qemu.AMD64, "./testvm/testapp", filepath.Join(tools, "usr/bin/testapp"))
	text, head := yaml, ""
	if machine {
		vmtest.Program(t, qemu.AMD64, "./testvm/agent/cmd/agent", filepath.Join(tools, "usr/bin/agent"))
		text, head = text+inMachine, fmt.Sprintf(kernel, vmtest.KernelOf(qemu.AMD64), collect, collectOften)
	}
	out, err := image.Build(t.Context(), image.Options{
		YAML: []byte(strings.NewReplacer("KERNEL", head, "TOOLS", tools).Replace(text)),
		File: filepath.Join(dir, "chaos.yml"), OutDir: dir, GuestRoot: nstest.GuestRoot(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
