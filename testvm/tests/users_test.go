package tests

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"keelson/runtime/timeline"
	"keelson/testvm/vm/vmtest"
)

// ownUsers are changes of examples/persistent.yml, in which redis has a user namespace and keeps
// its files on the disk. An onboot container with one runs, and one is refused: the kernel cannot
// ID-map what it binds, a folder of the initramfs.
var ownUsers = []string{
	`"redis:999:999"`, `"redis:999:999", "web:0:0"`,
	"keelson.restart: always", "keelson.restart: always\n      keelson.capabilities: none",
	"onboot:\n", `onboot:
  - name: mapped
    image: deb:busybox-static
    command: ["/bin/busybox", "cat", "/proc/self/uid_map"]
    readonly: true
    annotations: {keelson.userns: auto}
  - name: refused
    image: deb:busybox-static
    command: ["/bin/busybox", "true"]
    readonly: true
    binds: ["/containers:/data:ro,idmap"]
    annotations: {keelson.userns: auto, keelson.on-failure: continue}
`,
}

// webService is an nginx as container engines run it: it writes to its root, opens its
// standard output by name, and its workers have another user.
const webService = `
  - name: web
    image: deb:nginx,busybox-static
    command: ["/bin/busybox", "sh", "-ec", "busybox mkdir -p /var/www; echo hello >/var/www/index.html; echo >>/data/starts; echo 'server { listen 8080; root /var/www; access_log /dev/stdout; }' >/etc/nginx/sites-enabled/default; exec nginx -g 'daemon off;'"]
    env: ["PATH=/usr/sbin:/usr/bin:/bin"]
    net: host
    binds: ["/var/persist/web:/data:rw,idmap"]
    annotations: {keelson.userns: auto, keelson.capabilities: docker-default, keelson.ready: "http:8080/index.html"}
`

// usersOf returns the user IDs of the machine that the processes of a program have, and the
// first ID of the namespace that they share.
func usersOf(t *testing.T, v *vmtest.VM, program string) (first uint32, uids []uint32) {
	t.Helper()
	all, err := v.Client().Processes(vmtest.Context(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if p.Name != program {
			continue
		}
		var inside, size, uid uint32
		if _, err := fmt.Sscan(v.File(fmt.Sprintf("/proc/%d/uid_map", p.PID)), &inside, &first, &size); err != nil || inside != 0 || size != 65536 {
			t.Errorf("%s: mapping %d %d %d, %v", program, inside, first, size, err)
		}
		_, status, _ := strings.Cut(v.File(fmt.Sprintf("/proc/%d/status", p.PID)), "\nUid:")
		if _, err := fmt.Sscan(status, &uid); err != nil {
			t.Errorf("%s: %v", program, err)
		}
		uids = append(uids, uid)
	}
	return first, uids
}

// checkOwnUsers returns a check of each boot: redis and nginx have user IDs of their own, the
// same ones after a restart and in each boot.
func checkOwnUsers(t *testing.T) func(*vmtest.VM) {
	before := map[string]uint32{}
	return func(v *vmtest.VM) {
		t.Helper()
		// Tools of a bundle that runs, for a service with another user namespace. The program is not in it.
		out := v.Output("/usr/bin/service", "debug", "--with", "web", "redis", "/bin/busybox", "sh", "-c",
			"id -u; cat /proc/self/uid_map /service/proc/1/comm; cat /proc/1/comm; echo x >/tmp/x; cat /tmp/x; readlink /proc/1/ns/user; readlink /proc/self/ns/user")
		if f := strings.Fields(out); len(f) != 9 || f[0] != "0" || f[1] != "0" || f[2] == "0" || f[4] != "redis-server" || f[5] != f[4] || f[6] != "x" || f[7] != f[8] {
			t.Errorf("tools in a user namespace print %q", out)
		}
		check := func() {
			for program, users := range map[string][]uint32{"redis-server": {999}, "nginx": {0, 33}} {
				first, uids := usersOf(t, v, program)
				if first < 524288 || before[program] != 0 && first != before[program] {
					t.Errorf("%s has the IDs from %d on, before %d", program, first, before[program])
				}
				before[program] = first
				for i, uid := range uids {
					if want := first + users[min(i, len(users)-1)]; uid != want {
						t.Errorf("process %d of %s has user %d, want %d", i, program, uid, want)
					}
				}
				if len(uids) < len(users) {
					t.Errorf("%s has %d processes", program, len(uids))
				}
			}
		}
		check()
		v.Output("/usr/bin/service", "restart", "web")
		check()
		if before["nginx"] == before["redis-server"] {
			t.Errorf("both have the IDs from %d on", before["nginx"])
		}
		results := map[string]string{}
		for _, e := range v.Timeline() {
			if e.Stage == timeline.Onboot {
				results[e.Name] = e.Result
			}
		}
		if results["000-mapped"] != "exited 0" || !strings.Contains(results["001-refused"], "option idmap: the kernel cannot map the owners of files on this file system: /containers is on rootfs, kernel ") {
			t.Errorf("onboot containers: %q", results)
		}
		var inside, first, size uint32
		if _, err := fmt.Sscan(v.File("/run/log/onboot/onboot.000-mapped.out.log"), &inside, &first, &size); err != nil || first < 524288 || size != 65536 {
			t.Errorf("the onboot container has the mapping %d %d %d, %v", inside, first, size, err)
		}
		if mounts := v.File("/proc/1/mounts"); !strings.Contains(mounts, "metacopy=on") {
			t.Errorf("no root has owners in an overlay:\n%s", mounts)
		}
	}
}

// checkOwners checks that files on the disk belong to the users of the containers.
func checkOwners(t *testing.T, disk string) {
	t.Helper()
	for path, user := range map[string]string{"/redis/appendonlydir": "999", "/web/starts": "0"} {
		out := strings.Join(strings.Fields(tool(t, "debugfs", "-R", "stat "+path, disk)), " ")
		if !strings.Contains(out, " User: "+user+" ") {
			t.Errorf("%s of %s: want user %s: %s", path, filepath.Base(disk), user, out)
		}
	}
}

// usersOnRoot are onboot containers with user namespaces, whose root is read-only or writable.
// They see the files of their image as root's.
const usersOnRoot = `
  - name: users
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-ec", "[ $(busybox stat -c %u:%g /bin/busybox) = 0:0 ]; busybox cat /proc/self/mounts"]
    env: ["PATH=/bin"]
    readonly: true
    annotations: {keelson.userns: auto}
  - name: users
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-ec", "[ $(busybox stat -c %u:%g /bin/busybox) = 0:0 ]; echo written >/bin/file; busybox cat /proc/self/mounts"]
    env: ["PATH=/bin"]
    annotations: {keelson.userns: auto}
`

// checkUsersOnRoot checks that these containers have an overlay with the owners of their files
// only if the file system of the root cannot be ID-mapped.
func checkUsersOnRoot(t *testing.T, v *vmtest.VM, idMapped bool) {
	t.Helper()
	for _, name := range []string{"001-users", "002-users"} {
		mounts := v.File("/run/log/onboot/onboot." + name + ".out.log")
		root, _, _ := strings.Cut(mounts, "\n")
		if overlay := strings.Contains(root, "metacopy=on"); overlay == idMapped || !strings.Contains(root, " / ") {
			t.Errorf("%s has the root %q, ID-mapped: %v", name, root, idMapped)
		}
	}
}
