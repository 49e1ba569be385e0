package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"keelson/runtime/timeline"
	"keelson/testvm/image"
	"keelson/testvm/qemu"
	"keelson/testvm/tier"
	"keelson/testvm/vm"
	"keelson/testvm/vm/vmtest"
)

// tasks are two services, one of them in a namespace of containerd of its own.
const tasks = `
services:
  AGENT
  - name: sleeper
    image: dir:PAYLOAD
    command: ["/testapp", "sleep"]
  - name: apart
    image: dir:PAYLOAD
    command: ["/testapp", "sleep"]
    readonly: true
    runtime: {namespace: other.example}
`

// Upstream's containerd and shim work in place of keelson's.
func TestStockContainerd(t *testing.T) {
	t.Parallel()
	tier.Long(t) // It compiles all of upstream's containerd.
	v := vmtest.Boot(t, machine(t, withStock(t, "stock", "containerd", "containerd-shim-runc-v2", "ctr")))
	v.Stage(timeline.Ready)
	if !strings.Contains(v.Output("/usr/bin/ctr", "plugins", "ls"), "io.containerd.cri") {
		t.Error("the running containerd is not upstream's")
	}
	checkCtr(t, v)
	checkContainerdKilled(t, v)
	v.Output("/usr/bin/service", "restart", "sleeper")
	if got := taskPIDs(t, v, "services.linuxkit"); got["sleeper"] == "" {
		t.Errorf("after a restart of sleeper: %v", got)
	}
	v.SignalInit(sigUSR2)
	v.Exit(vm.PoweredDown)
}

// Upstream's ctr works with keelson's containerd and prints the same as keelson's ctr.
func TestStockCtr(t *testing.T) {
	t.Parallel()
	tier.Long(t)
	v := vmtest.Boot(t, machine(t, withStock(t, "stock-ctr", "ctr")))
	v.Stage(timeline.Ready)
	if strings.Contains(v.Output("/usr/bin/ctr", "plugins", "ls"), "io.containerd.cri") {
		t.Error("the running containerd is not keelson's")
	}
	checkCtr(t, v)
	checkSameCtr(t, v)
	checkContainerdKilled(t, v)
	v.SignalInit(sigUSR2)
	v.Exit(vm.PoweredDown)
}

// ownCtr is the link to keelson's ctr that withStock makes, because upstream's replaces
// it in /usr/bin.
const ownCtr = "opt/own/ctr"

// checkSameCtr compares the output of keelson's ctr with that of upstream's.
func checkSameCtr(t *testing.T, v *vmtest.VM) {
	t.Helper()
	for _, args := range [][]string{
		{"tasks", "ls"}, {"tasks", "ls", "-q"}, {"tasks", "ps", "sleeper"}, {"containers", "ls"}, {"containers", "ls", "-q"},
		{"namespaces", "ls"}, {"namespaces", "ls", "-q"},
		{"tasks", "exec", "--exec-id", "y", "sleeper", "/testapp", "print", "from inside", ""},
	} {
		args = append([]string{"-n", "services.linuxkit"}, args...)
		theirs, ours := v.Output(append([]string{"/usr/bin/ctr"}, args...)...), v.Output(append([]string{"/" + ownCtr}, args...)...)
		if theirs == "" || !slices.Equal(sortedLines(ours), sortedLines(theirs)) {
			t.Errorf("ctr %q prints %q, upstream's %q", args, ours, theirs)
		}
	}
}

// sortedLines returns the lines of a list in order; containerd does not order them.
func sortedLines(text string) []string { return slices.Sorted(strings.Lines(text)) }

// withStock builds an image in which some of upstream's programs replace keelson's.
func withStock(t *testing.T, name string, programs ...string) image.Output {
	t.Helper()
	all, dir := stock(t), vmtest.Folder(t, name+"-root")
	if err := os.MkdirAll(filepath.Join(dir, "usr/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	withFolder(t, filepath.Join(dir, ownCtr), func(path string) error { return os.Symlink("/usr/bin/service", path) })
	for _, p := range programs {
		if err := os.Link(filepath.Join(all, p), filepath.Join(dir, "usr/bin", p)); err != nil {
			t.Fatal(err)
		}
	}
	return build(t, name, tasks, dir)
}

const containerdModule = "github.com/containerd/containerd/v2"

// stock returns a folder with upstream's programs.
func stock(t *testing.T) string {
	t.Helper()
	return folder(t, "stock-programs", func(dir string) { buildStock(t, dir) })
}

// buildStock builds upstream's programs at the version that keelson uses. They are built in
// a module of their own because they need many modules that keelson does not.
func buildStock(t *testing.T, dir string) {
	t.Helper()
	run := func(where string, args ...string) string {
		cmd := exec.Command("go", args...)
		cmd.Dir = where
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+qemu.AMD64, "GOFLAGS=")
		cmd.Stderr = &strings.Builder{}
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("cannot build upstream's containerd: %s: %v\n%s", cmd, err, cmd.Stderr)
		}
		return strings.TrimSpace(string(out))
	}
	version := run(vmtest.Repository(t), "list", "-m", "-f", "{{.Version}}", containerdModule)
	module := t.TempDir()
	mod := fmt.Sprintf("module stock\n\ngo 1.26\n\nrequire %s %s\n", containerdModule, version)
	if err := os.WriteFile(filepath.Join(module, "go.mod"), []byte(mod), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{"build", "-mod=mod", "-trimpath", "-ldflags", "-s -w", "-o", dir + "/"}
	for _, program := range []string{"containerd", "containerd-shim-runc-v2", "ctr"} {
		args = append(args, containerdModule+"/cmd/"+program)
	}
	run(module, args...)
}

// checkCtr lists services and runs a program in one of them.
func checkCtr(t *testing.T, v *vmtest.VM) {
	t.Helper()
	ours, others := taskPIDs(t, v, "services.linuxkit"), taskPIDs(t, v, "other.example")
	if len(ours) != 2 || ours["agent"] == "" || ours["sleeper"] == "" {
		t.Errorf("tasks in services.linuxkit: %v", ours)
	}
	if len(others) != 1 || others["apart"] == "" {
		t.Errorf("tasks in other.example: %v", others)
	}
	for namespace, name := range map[string]string{"services.linuxkit": "sleeper", "other.example": "apart"} {
		out := v.Output("/usr/bin/ctr", "-n", namespace, "tasks", "exec", "--exec-id", "x", name, "/testapp", "print", "from inside", "")
		if strings.TrimSpace(out) != "from inside" {
			t.Errorf("a program in %s printed %q", name, out)
		}
		if list := v.Output("/usr/bin/ctr", "-n", namespace, "containers", "ls"); !strings.Contains(list, name) {
			t.Errorf("containers in %s: %q", namespace, list)
		}
	}
	r, err := v.Exec(vmtest.Context(t), "/usr/bin/ctr", "-n", "services.linuxkit", "tasks", "exec", "--exec-id", "y", "sleeper", "/testapp", "exit", "7")
	if err != nil || r.Code != 7 {
		t.Errorf("exit code of a program in a service: %+v, %v", r, err)
	}
}

// taskPIDs returns the running tasks of a namespace, as ctr lists them.
func taskPIDs(t *testing.T, v *vmtest.VM, namespace string) map[string]string {
	t.Helper()
	pids := map[string]string{}
	lines := strings.Split(v.Output("/usr/bin/ctr", "-n", namespace, "tasks", "ls"), "\n")
	for _, line := range lines[1:] {
		if f := strings.Fields(line); len(f) == 3 && f[2] == "RUNNING" {
			pids[f[0]] = f[1]
		}
	}
	return pids
}

// checkContainerdKilled kills containerd and checks that a new one has the same tasks.
func checkContainerdKilled(t *testing.T, v *vmtest.VM) {
	t.Helper()
	before := taskPIDs(t, v, "services.linuxkit")
	killed := containerdPID(t, v)
	if err := v.Client().Signal(vmtest.Context(t), killed, int(syscall.SIGKILL)); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(vmtest.Patience / 4)
	for {
		r, err := v.Exec(vmtest.Context(t), "/usr/bin/ctr", "-n", "services.linuxkit", "tasks", "ls")
		if err != nil {
			t.Fatal(err)
		}
		if r.Code == 0 && containerdPID(t, v) != killed {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("containerd was killed and no new one answers: %+v", r)
		}
		time.Sleep(200 * time.Millisecond)
	}
	if after := taskPIDs(t, v, "services.linuxkit"); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("tasks were %v and are %v after containerd was killed", before, after)
	}
}

// containerdPID returns 0 while containerd does not run.
func containerdPID(t *testing.T, v *vmtest.VM) int {
	t.Helper()
	for _, p := range processes(t, v) {
		if p.PPID == 1 && len(p.Args) > 0 && filepath.Base(p.Args[0]) == "containerd" && !isZombie(p) {
			return p.PID
		}
	}
	return 0
}
