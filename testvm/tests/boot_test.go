package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"keelson/runtime/timeline"
	"keelson/testvm/agent"
	"keelson/testvm/image"
	"keelson/testvm/qemu"
	"keelson/testvm/tier"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

// standard has onboot containers that succeed and fail, a data disk, and
// services to talk to and to stop.
const standard = `
onboot:
  - name: first
    image: dir:PAYLOAD
    command: ["/testapp", "print", "first out", "first err"]
    readonly: true
  - name: second
    image: dir:PAYLOAD
    command: ["/testapp", "exit", "3"]
    readonly: true
  - name: third
    image: dir:PAYLOAD
    command: ["/testapp", "crash"]
    readonly: true
    # The first process of a PID namespace cannot kill itself.
    pid: host
  - name: data
    image: deb:busybox-static
    command: ["/bin/busybox", "sh", "-c", "mkdir -p /var/lib/data && mount -t ext4 /dev/vda /var/lib/data"]
    capabilities: [CAP_SYS_ADMIN, CAP_DAC_OVERRIDE]
    devices: [{path: all, type: b}]
    rootfsPropagation: shared
    binds: ["/dev:/dev", "/var/lib:/var/lib:rshared,rbind"]
services:
  AGENT
  - name: redis
    image: deb:redis-server
    command: ["/usr/bin/redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", ""]
    net: host
    readonly: true
    tmpfs: ["/tmp"]
  - name: trap
    image: dir:PAYLOAD
    command: ["/testapp", "trap", "trapped"]
    annotations: {keelson.ready: "log:^waiting"}
    readonly: true
    devices: [{path: all, type: c}]
    binds: ["/dev/kmsg:/dev/kmsg"]
  - name: web
    image: dir:PAYLOAD
    command: ["/testapp", "serve", ":8080", "hello"]
    annotations: {keelson.requires: redis}
    resources: {memory: {limit: 67108864}, pids: {limit: 100}}
    readonly: true
  - name: tools
    image: deb:busybox-static
    command: ["/bin/busybox", "sh"]
    annotations: {keelson.role: rescue}
  GATE
`

// One boot is checked in many respects, then powered off.
func TestSystem(t *testing.T) {
	t.Parallel()
	keys := gateKeys(t)
	c := machine2(t, buildFor(t, target{arch: qemu.AMD64, compression: image.None, modules: "default, vsock_loopback"}, "standard",
		strings.Replace(standard, "  GATE\n", gateSections(t, keys), 1)))
	disk := filepath.Join(t.TempDir(), "data.img")
	makeExt4(t, disk, "64M")
	c.Disks = []qemu.Disk{{Path: disk}}
	c.Publish = []qemu.Forward{{Guest: 6379}, {Guest: 7443}, {Guest: 7444}}
	port := qemu.Port{Name: gatePort, Path: filepath.Join(t.TempDir(), "port")}
	c.Ports = []qemu.Port{port}
	c.RTC = at2033
	v := vmtest.Boot(t, c)
	v.Stage(timeline.Ready)
	t.Run("clock", func(t *testing.T) { checkClock(t, v) })
	t.Run("onboot", func(t *testing.T) { checkOnboot(t, v) })
	t.Run("logs", func(t *testing.T) { checkLogs(t, v) })
	t.Run("redis", func(t *testing.T) { checkRedis(t, v) })
	t.Run("processes", func(t *testing.T) { checkProcesses(t, v) })
	t.Run("root", func(t *testing.T) { checkRoot(t, v) })
	t.Run("cli", func(t *testing.T) { checkUsing(t, v) })
	t.Run("api", func(t *testing.T) { checkAPI(t, v) })
	t.Run("metrics", func(t *testing.T) { checkMetrics(t, v) })
	t.Run("events", func(t *testing.T) { checkEvents(t, v) })
	t.Run("gate", func(t *testing.T) { checkGate(t, v, keys, port.Path) }) // The supervisor is another one than at its start.
	t.Run("page", func(t *testing.T) { checkPage(t, v, keys) })
	if err := v.WriteFile(vmtest.Context(t), "/var/lib/data/kept", []byte("kept\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	v.SignalInit(sigUSR2)
	v.Exit(vm.PoweredDown)
	if !strings.Contains(v.Console(), "keelson-test: trapped") {
		t.Error("a service got no SIGTERM, or no time to handle it")
	}
	checkClean(t, disk)
	checkKept(t, disk)
}

// The system has the time of the hardware clock, which is plausible.
func checkClock(t *testing.T, v *vmtest.VM) {
	_, text, _ := strings.Cut(v.File("/proc/stat"), "\nbtime ")
	line, _, _ := strings.Cut(text, "\n")
	if booted := seconds(t, line); booted < in2033-60 || booted > in2033+3600 {
		t.Errorf("the system was started at %d, want %d", booted, in2033)
	}
	if strings.Contains(v.Console(), "the clock is implausible") {
		t.Error("the console reports an implausible clock")
	}
}

// Onboot containers ran in order, each to completion, and their results are recorded.
func checkOnboot(t *testing.T, v *vmtest.VM) {
	want := []struct{ name, result string }{
		{"000-first", "exited 0"}, {"001-second", "exited 3"}, {"002-third", "killed by SIGKILL"}, {"003-data", "exited 0"},
	}
	var got []timeline.Event
	for _, e := range v.Timeline() {
		if e.Stage == timeline.Onboot {
			got = append(got, e)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("onboot events: %v", got)
	}
	for i, w := range want {
		if got[i].Name != w.name || got[i].Result != w.result || got[i].Took == 0 {
			t.Errorf("event %d is %v, want %v", i, got[i], w)
		}
	}
	var result struct{ ExitCode int }
	if err := json.Unmarshal([]byte(v.File("/run/keelson/onboot/001-second.json")), &result); err != nil || result.ExitCode != 3 {
		t.Errorf("result of 001-second: %+v, %v", result, err)
	}
	if out := v.File("/var/log/onboot/onboot.000-first.out.log"); out != "first out\n" {
		t.Errorf("log of stdout: %q", out)
	}
	if out := v.File("/var/log/onboot/onboot.000-first.log"); out != "first err\n" {
		t.Errorf("log of stderr: %q", out)
	}
	if !strings.Contains(v.Console(), "first out") {
		t.Error("the console does not show the output of an onboot container")
	}
}

// The journal begins with the boot and has what the supervisor did, with numbers that increase
// by one; a supervisor that follows one that was killed continues it.
func checkEvents(t *testing.T, v *vmtest.VM) {
	for _, p := range processes(t, v) {
		if len(p.Args) > 1 && p.Args[1] == "supervise" {
			if err := v.Client().Signal(vmtest.Context(t), p.PID, int(syscall.SIGKILL)); err != nil {
				t.Fatal(err)
			}
		}
	}
	until(t, func() string { // The next one has taken over.
		r, err := v.Exec(vmtest.Context(t), "/usr/bin/service", "events", "--json")
		if err != nil || strings.Count(r.Stdout, `"kind":"containerd"`) < 2 {
			return fmt.Sprintf("events %s, %s (%v)", r.Stdout, r.Stderr, err)
		}
		return ""
	})
	wanted := []string{
		"stage kernel ", "onboot 000-first ", "onboot 001-second ", "supervisor  started", "service redis running", "system  ready",
		"supervisor  started", "containerd  connected",
	}
	last := ""
	for line := range strings.Lines(v.Output("/usr/bin/service", "events", "--json")) {
		var e struct{ ID, Kind, Name, To string }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if last != "" && e.ID != next(t, last) {
			t.Errorf("%s follows %s", e.ID, last)
		}
		last = e.ID
		if len(wanted) > 0 && e.Kind+" "+e.Name+" "+e.To == wanted[0] {
			wanted = wanted[1:]
		}
	}
	if len(wanted) > 0 {
		t.Errorf("no event %q in\n%s", wanted[0], v.Output("/usr/bin/service", "events"))
	}
}

// next returns the ID of the event after one.
func next(t *testing.T, id string) string {
	t.Helper()
	boot, text, _ := strings.Cut(id, ".")
	number, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("event ID %q: %v", id, err)
	}
	return fmt.Sprintf("%s.%d", boot, number+1)
}

func checkRedis(t *testing.T, v *vmtest.VM) {
	ctx := vmtest.Context(t)
	r := redis.NewClient(&redis.Options{Addr: v.Addr(6379), MaxRetries: 200, MaxRetryBackoff: 50 * time.Millisecond, DisableIdentity: true})
	defer r.Close()
	if pong, err := r.Ping(ctx).Result(); err != nil || pong != "PONG" {
		t.Fatalf("PING: %q, %v", pong, err)
	}
	if err := r.Set(ctx, "keel", "son", 0).Err(); err != nil {
		t.Error(err)
	}
	if got, err := r.Get(ctx, "keel").Result(); err != nil || got != "son" {
		t.Errorf("GET: %q, %v", got, err)
	}
}

// PID 1, containerd, the supervisor and each service are separate processes; the boot
// role has ended; there are no zombies.
func checkProcesses(t *testing.T, v *vmtest.VM) {
	list := processes(t, v)
	count := func(what string, is func(agent.Process) bool, want int) {
		n := 0
		for _, p := range list {
			if is(p) {
				n++
			}
		}
		if n != want {
			t.Errorf("%d × %s, want %d: %+v", n, what, want, list)
		}
	}
	command := func(words ...string) func(agent.Process) bool {
		return func(p agent.Process) bool {
			return len(p.Args) >= len(words) && filepath.Base(p.Args[0]) == words[0] &&
				strings.HasPrefix(strings.Join(p.Args[1:], " "), strings.Join(words[1:], " "))
		}
	}
	count("PID 1", func(p agent.Process) bool { return p.PID == 1 && command("init")(p) }, 1)
	count("boot role", command("init", "boot"), 0)
	count("containerd of PID 1", func(p agent.Process) bool { return p.PPID == 1 && command("containerd")(p) }, 1)
	count("supervisor of PID 1", func(p agent.Process) bool { return p.PPID == 1 && command("service", "supervise")(p) }, 1)
	count("shim of PID 1", func(p agent.Process) bool { return p.PPID == 1 && command("containerd-shim-runc-v2")(p) }, 7)
	checkFileLimits(t, v, list)
	checkHugePages(t, v, list)
	noZombies(t, v)
}

// checkHugePages checks that PID 1 has no huge page, and that every process may have some
// (THP_enabled of proc_pid_status(5)), although the entry point of /init disables them.
func checkHugePages(t *testing.T, v *vmtest.VM, list []agent.Process) {
	t.Helper()
	if text := v.File("/proc/1/smaps_rollup"); !regexp.MustCompile(`(?m)^AnonHugePages: +0 kB$`).MatchString(text) {
		t.Errorf("PID 1 has huge pages, or their number is unknown:\n%s", text)
	}
	for _, p := range list {
		if p.PID != 1 && p.PPID != 1 {
			continue // A process of a service may have ended meanwhile.
		}
		if text := v.File(fmt.Sprintf("/proc/%d/status", p.PID)); !strings.Contains(text, "\nTHP_enabled:\t1\n") {
			t.Errorf("%v may have no huge pages:\n%s", p.Args, text)
		}
	}
}

// checkFileLimits checks the limits of open files of redis, which needs 10032 and raises a soft
// limit that is lower.
func checkFileLimits(t *testing.T, v *vmtest.VM, list []agent.Process) {
	t.Helper()
	for _, p := range list {
		if len(p.Args) == 0 || !strings.HasSuffix(strings.Fields(p.Args[0])[0], "redis-server") {
			continue
		}
		for line := range strings.Lines(v.File(fmt.Sprintf("/proc/%d/limits", p.PID))) {
			if f := strings.Fields(line); strings.HasPrefix(line, "Max open files") && f[3] != "10032" {
				t.Errorf("redis: %s", line)
			}
		}
		return
	}
	t.Errorf("no redis: %+v", list)
}

// noZombies waits until there are no zombies: PID 1 may be about to reap one.
func noZombies(t *testing.T, v *vmtest.VM) {
	t.Helper()
	until(t, func() string {
		if list := processes(t, v); slices.ContainsFunc(list, isZombie) {
			return fmt.Sprintf("a process remains a zombie: %+v", list)
		}
		return ""
	})
}

func isZombie(p agent.Process) bool { return p.State == "Z" }

func processes(t *testing.T, v *vmtest.VM) []agent.Process {
	t.Helper()
	list, err := v.Client().Processes(vmtest.Context(t))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// The root is read-only, and the folders of the contract are writable.
func checkRoot(t *testing.T, v *vmtest.VM) {
	ctx := vmtest.Context(t)
	if err := v.WriteFile(ctx, "/written", nil, 0o644); err == nil {
		t.Error("/ can be written")
	}
	for _, dir := range []string{"/run", "/tmp", "/var/lib", "/dev/shm"} {
		if err := v.WriteFile(ctx, dir+"/written", nil, 0o644); err != nil {
			t.Errorf("%s cannot be written: %v", dir, err)
		}
	}
}

// The example of make run boots on arm64: all services come up, and the power button
// stops them.
func TestDemoOnARM64(t *testing.T) {
	t.Parallel()
	tier.VM(t)
	guestRootOf(t, qemu.ARM64)
	file := filepath.Join(vmtest.Repository(t), "examples/demo.yml")
	yaml, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	out, err := image.Build(vmtest.Context(t), image.Options{YAML: yaml, File: file, Name: "demo", Arch: qemu.ARM64, OutDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	c := machineOf(t, qemu.ARM64, out)
	c.Publish = []qemu.Forward{{Guest: 6379}}
	c.Disks = []qemu.Disk{{Path: filepath.Join(t.TempDir(), "data.img"), Size: 64 << 20}}
	v := vmtest.Boot(t, c)
	v.Stage(timeline.Ready)
	checkRedis(t, v)
	if err := v.PowerOff(vmtest.Context(t)); err != nil {
		t.Fatal(err)
	}
	checkClean(t, c.Disks[0].Path)
}
