package programs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"keelson/testvm/image"
	"keelson/testvm/image/signing"
	"keelson/testvm/nstest"
	"keelson/testvm/tier"
)

func TestMain(m *testing.M) {
	code := nstest.Main(m)
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Files of an /init with faults (runtime/fault).
const (
	faultFile = "tmp/keelson-fault" // the place in PID 1 that panics
	limitFile = "tmp/keelson-limit" // how long a trial may take
)

// onDisk mounts a folder of the host on /var of a system, which outlives it.
func onDisk(t *testing.T, dir string) {
	t.Helper()
	tier.Tool(t, "mount", "mount")
	disk, to := t.TempDir(), filepath.Join(dir, "var")
	if out, err := exec.Command("mount", "--bind", disk, to).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", to).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
}

// build builds a program of the guest with linker flags.
func build(t *testing.T, to, pkg, flags string) {
	t.Helper()
	buildTagged(t, to, pkg, "", flags)
}

func buildTagged(t *testing.T, to, pkg, tag, flags string) {
	t.Helper()
	tier.Tool(t, "go", "golang-go")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-tags", "grpcnotrace nethttpomithttp2 "+tag, "-ldflags", "-s -w "+flags, "-o", to, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot build %s: %v\n%s", pkg, err, out)
	}
}

// faultyInit is an /init into which faults can be injected.
const faultyInit = "init"

var built struct {
	sync.Mutex
	dir string
}

// program returns a program that is built once: testdata/broken, /init with faults, or the
// supervisor with another version.
func program(t *testing.T, name string) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if built.dir == "" {
		dir, err := os.MkdirTemp("", "keelson-programs-")
		must(t, err)
		built.dir = dir
	}
	file := filepath.Join(built.dir, name)
	if _, err := os.Stat(file); err == nil {
		return file
	}
	mode, broken := strings.CutPrefix(name, "broken-")
	switch {
	case broken:
		build(t, file, "./testdata/broken", "-X main.mode="+mode)
	case name == faultyInit:
		buildTagged(t, file, "keelson/init", "faults", "-E main.entry")
	default:
		build(t, file, "keelson/services/cmd/service", "-X keelson/runtime/version.stamped="+name)
	}
	return file
}

// keys is a key of minisign.
type keys struct{ public, secret string }

func newKeys(t *testing.T) keys {
	t.Helper()
	tier.Tool(t, "minisign", "minisign")
	k := keys{filepath.Join(t.TempDir(), "key.pub"), filepath.Join(t.TempDir(), "key")}
	if out, err := exec.Command("minisign", "-G", "-W", "-p", k.public, "-s", k.secret).CombinedOutput(); err != nil {
		t.Fatalf("minisign: %v: %s", err, out)
	}
	return k
}

// line returns the public key in a policy.
func (k keys) line(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(k.public)
	must(t, err)
	return strings.Split(string(text), "\n")[1]
}

// artifact writes a signed artifact of files, by their paths below the root. A file that
// begins with "-> " is a link.
func artifact(t *testing.T, k keys, files map[string]string) string {
	t.Helper()
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "programs.tar")
	for name, from := range files {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		if to, link := strings.CutPrefix(from, "-> "); link {
			must(t, os.Symlink(to, path))
			continue
		}
		data, err := os.ReadFile(from)
		must(t, err)
		must(t, os.WriteFile(path, data, 0o755))
	}
	_, err := image.WritePrograms([]string{dir}, time.Time{}, image.Target{Name: file})
	must(t, err)
	if k.secret != "" {
		key, err := signing.LoadKey(k.secret, func() (string, error) { return "", nil })
		must(t, err)
		_, err = signing.Sign(file, key)
		must(t, err)
	}
	return file
}

// whole returns all programs of a version with another supervisor.
func whole(t *testing.T, version string) map[string]string {
	t.Helper()
	return map[string]string{
		"usr/bin/service": program(t, version), "usr/bin/containerd": "-> service", "usr/bin/ctr": "-> service",
		"usr/bin/runc":                        nstest.Guest(t, "usr/bin/runc"),
		"usr/bin/containerd-shim-runc-v2":     nstest.Guest(t, "usr/bin/containerd-shim-runc-v2"),
		"usr/libexec/containerd-shim-runc-v2": nstest.Guest(t, "usr/libexec/containerd-shim-runc-v2"),
	}
}

// system is a system with a service that writes all the time.
type system struct {
	*nstest.System
	t    *testing.T
	tree string
	web  int // process of the service

	supervisor int // process before a swap
}

const writer = "trap 'exit 0' TERM; i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done"

// tree makes the root of a system whose policy allows programs that k signs.
func tree(t *testing.T, k keys) string {
	t.Helper()
	tier.Root(t)
	dir := t.TempDir()
	nstest.Tree(t, dir)
	const path = "/containers/services/web"
	nstest.Bundle(t, filepath.Join(dir, path), writer, nil, fmt.Sprintf(
		`{"mounts":[{"destination":"%[1]s/rootfs","source":"%[1]s/rootfs","options":["bind"]}]}`, path))
	must(t, os.MkdirAll(filepath.Join(dir, "etc/keelson"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "etc/keelson/swap.yml"), []byte(
		"keys: {test: "+k.line(t)+"}\nprograms: {allow: [swap, rollback], signed-by: [test]}\n"), 0o644))
	return dir
}

// faulty makes the root of a system with faultyInit.
func faulty(t *testing.T, k keys) string {
	t.Helper()
	dir := tree(t, k)
	data, err := os.ReadFile(program(t, faultyInit))
	must(t, err)
	must(t, os.Remove(filepath.Join(dir, "init")))
	must(t, os.WriteFile(filepath.Join(dir, "init"), data, 0o755))
	return dir
}

func boot(t *testing.T, dir string, o nstest.Options) *system {
	t.Helper()
	s := &system{System: nstest.Boot(t, dir, o), t: t, tree: dir}
	s.Stage("ready")
	s.web = s.one("sh", writer)
	return s
}

// one returns the only process of a program whose arguments contain words.
func (s *system) one(program string, words ...string) int {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		found := s.Named(program, words...)
		if len(found) == 1 {
			return found[0]
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("processes of %s %q: %v", program, words, found)
		}
	}
}

// service runs the command line in the system, with a file as standard input.
func (s *system) service(input string, args ...string) (string, error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 4*time.Minute)
	defer cancel()
	cmd := s.command(ctx, input, args...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (s *system) command(ctx context.Context, input string, args ...string) *exec.Cmd {
	s.t.Helper()
	tier.Tool(s.t, "nsenter", "util-linux")
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"-t", fmt.Sprint(s.PID()), "-m", "-p", "-r", "-w", "--", "/usr/bin/service"}, args...)...)
	if input != "" {
		f, err := os.Open(input)
		must(s.t, err)
		s.t.Cleanup(func() { f.Close() })
		cmd.Stdin = f
	}
	return cmd
}

// untouched checks that the service is the same process, and has lost no output.
func (s *system) untouched() {
	s.t.Helper()
	if now := s.one("sh", writer); now != s.web {
		s.t.Errorf("the service was process %d and is %d", s.web, now)
	}
	numbers := func() []string {
		text, err := os.ReadFile(filepath.Join(s.Root, "var/log/web.out.log"))
		must(s.t, err)
		return strings.Fields(string(text[:strings.LastIndexByte(string(text), '\n')+1]))
	}
	before := len(numbers())
	var now []string
	for deadline := time.Now().Add(time.Minute); len(now) <= before; time.Sleep(10 * time.Millisecond) {
		if now = numbers(); time.Now().After(deadline) {
			s.t.Fatal("the service's output does not reach its log")
		}
	}
	for i, n := range now {
		if n != fmt.Sprint(i+1) {
			s.t.Fatalf("line %d of the service's log is %q", i+1, n)
		}
	}
}

// version returns what a program of the system says of its version.
func (s *system) version() string {
	s.t.Helper()
	out, err := s.service("", "version")
	must(s.t, err)
	return out
}

// running checks that the supervisor and containerd run a version of the supervisor's program:
// that of the file at its path.
func (s *system) running(version string) {
	s.t.Helper()
	if got := s.version(); !strings.Contains(got, version) {
		s.t.Errorf("/usr/bin/service is version %q, want %s", got, version)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		problem := s.notInPlace()
		if problem == "" {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatal(problem)
		}
	}
}

func (s *system) notInPlace() string {
	for _, d := range [][]string{{"service", "supervise"}, {"containerd"}} {
		found := s.Named(d[0], d[1:]...)
		if len(found) != 1 {
			return fmt.Sprintf("processes of %v: %v", d, found)
		}
		running, err := os.Stat(fmt.Sprintf("/proc/%d/exe", found[0]))
		if err != nil {
			return err.Error()
		}
		installed, err := os.Stat(filepath.Join(s.Root, "usr/bin", d[0]))
		if err != nil {
			return err.Error()
		}
		if !os.SameFile(running, installed) {
			return fmt.Sprintf("%v does not execute the program at its path", d)
		}
	}
	return ""
}

// ends powers off and checks that nothing was left mounted.
func (s *system) ends() {
	s.t.Helper()
	s.Signal(syscall.SIGUSR2)
	if code := s.Wait(); code != 0 {
		s.t.Errorf("exit code %d", code)
	}
	s.Line("shutdown mounts: unmounted")
}
