package pid1

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/init/pid1/environment"
	"keelson/runtime/timeline"
	"keelson/testvm/nstest"
)

// A boot with the guest's own programs and containers in userspace mode, as the first
// process of a PID namespace.
func TestWholeBoot(t *testing.T) {
	dir := system(t, map[string]string{"etc/hostname": "# the name of this machine\nbox\nother\n"})
	container(t, dir, "/containers/onboot/000-one", "echo one")
	container(t, dir, "/containers/services/web", "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done")
	s := nstest.Boot(t, dir, nstest.Options{CmdLine: "keelson.loglevel=debug"})
	s.Stage(timelineReady...)
	if !strings.Contains(s.Output("/usr/bin/service", "list"), "web") || strings.Contains(s.Console(), "] modules") {
		t.Error("the service is not listed, or modules were loaded")
	}
	s.Line("hostname: box")
	build := strings.TrimPrefix(s.Stage(timeline.Kernel).Result, "keelson ")
	for program, path := range map[string]string{"init": "/init", "service": "/usr/bin/service"} {
		if out := s.Output(path, "version"); build == "" || !strings.HasPrefix(out, program+" "+build+" (go1.") {
			t.Errorf("%s version: %q; at boot: %q", program, out, build)
		}
	}
	if strings.Contains(s.Console(), "mounts files") {
		t.Error("files were restored although the mounts cover none")
	}
	s.Signal(unix.SIGTERM)
	if code := s.Wait(); code != codeReboot {
		t.Errorf("exit code %d", code)
	}
}

// Without a writable /run, the system does not boot and exits with codeFatal.
func TestCannotBoot(t *testing.T) {
	dir := system(t, nil)
	must(t, os.Remove(filepath.Join(dir, "run")))
	s := nstest.Boot(t, dir, nstest.Options{})
	if e := s.Stage("fatal"); !strings.Contains(e.Result, "/run") {
		t.Errorf("got %v", e)
	}
	if code := s.Wait(); code != codeFatal {
		t.Errorf("exit code %d", code)
	}
}

var timelineReady = []string{"ready", "degraded"}

// The same if /init is not the first process: it adopts orphans, and at the end none of
// its processes runs.
func TestNotFirst(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		dir := system(t, map[string]string{"etc/init.d/001-orphan": shell + "sh -c 'sleep 1000 & echo $! >/run/orphan' &\n"})
		for _, applet := range []string{"sleep"} {
			must(t, os.Symlink("sh", filepath.Join(dir, "bin", applet)))
		}
		container(t, dir, "/containers/onboot/000-one", "echo one")
		container(t, dir, "/containers/services/web", "exec sleep 1000")
		s := nstest.Boot(t, dir, nstest.Options{NotFirst: true})
		if e := s.Stage(timelineReady...); e.Stage != "ready" {
			t.Errorf("got %v", e)
		}
		var text []byte // The script does not wait for the process that writes it.
		for deadline := time.Now().Add(time.Minute); len(text) == 0 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			text, _ = os.ReadFile(filepath.Join(s.Root, "run/orphan"))
		}
		orphan, err := strconv.Atoi(strings.TrimSpace(string(text)))
		must(t, err)
		parents, err := environment.Parents()
		must(t, err)
		if parents[parents[orphan]] != os.Getpid() || parents[orphan] == os.Getpid() {
			t.Errorf("orphan %d has parent %d", orphan, parents[orphan])
		}
		s.Output("/usr/bin/service", "poweroff")
		if code := s.Wait(); code != codeDone {
			t.Errorf("exit code %d", code)
		}
		parents, err = environment.Parents()
		must(t, err)
		if len(parents) != 1 {
			t.Errorf("processes still run: %v", parents)
		}
	})
}

// A volume that a container manager has mounted on /var is used and stays mounted.
func TestOuterMounts(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		dir := system(t, nil)
		container(t, dir, "/containers/services/web", "echo started; exec sleep 1000")
		must(t, unix.Mount("volume", filepath.Join(dir, "var"), "tmpfs", 0, ""))
		defer func() { _ = unix.Unmount(filepath.Join(dir, "var"), 0) }()
		s := nstest.Boot(t, dir, nstest.Options{})
		s.Stage("ready")
		if !strings.Contains(s.Output("/bin/sh", "-c", "while read x; do echo $x; done </proc/1/mounts"), "volume /var") {
			t.Error("the volume is not on /var")
		}
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			if log, _ := os.ReadFile(filepath.Join(s.Root, "var/log/web.out.log")); len(log) > 0 {
				break // A running service may not have printed its line yet.
			}
		}
		s.Signal(unix.SIGUSR2)
		if code := s.Wait(); code != codeDone {
			t.Errorf("exit code %d", code)
		}
		if log, err := os.ReadFile(filepath.Join(dir, "var/log/web.out.log")); err != nil || string(log) != "started\n" {
			t.Errorf("the service's log on the volume: %q, %v", log, err)
		}
	})
}

// /init with the root and the mounts of its parent does not start a system.
func TestInitInShell(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		null, err := os.Open(os.DevNull)
		must(t, err)
		p, err := os.StartProcess(nstest.Guest(t, "init"), []string{"init"}, &os.ProcAttr{Files: []*os.File{null, null, null}})
		must(t, err)
		state, err := p.Wait()
		if err != nil || state.ExitCode() != 2 {
			t.Errorf("%v, %v; want a usage error", state, err)
		}
	})
}

// Both settings files of containerd have an effect, and errors in them are reported.
func TestContainerdFiles(t *testing.T) {
	t.Run("valid", func(t *testing.T) {
		dir := system(t, map[string]string{
			"etc/containerd/config.toml":         "version = 3\nroot = \"/var/lib/elsewhere\"\n",
			"etc/containerd/runtime-config.toml": "cliopts = \"--log-level debug\"\nstderr = \"/run/stderr\"\n",
		})
		container(t, dir, "/containers/services/web", "exec sleep 1000")
		s := nstest.Boot(t, dir, nstest.Options{})
		s.Stage("ready")
		if !strings.Contains(s.File("/run/stderr"), "level=debug") {
			t.Error("containerd's arguments or output are not as set")
		}
		if _, err := os.Stat(filepath.Join(s.Root, "var/lib/elsewhere/io.containerd.metadata.v1.bolt")); err != nil {
			t.Error(err)
		}
		s.Signal(syscall.SIGUSR2)
		s.Wait()
		s.Line("shutdown containerd: exited 0")
	})
	t.Run("bad settings", func(t *testing.T) {
		dir := system(t, map[string]string{"etc/containerd/runtime-config.toml": "cliopts = 7\n"})
		container(t, dir, "/containers/services/web", "exec sleep 1000")
		s := nstest.Boot(t, dir, nstest.Options{})
		s.Line("/etc/containerd/runtime-config.toml", "cliopts", "7")
		s.Stage("ready")
	})
	t.Run("broken configuration", func(t *testing.T) {
		dir := system(t, map[string]string{"etc/containerd/config.toml": "version = 3\nroot = /no/quotes\n"})
		container(t, dir, "/containers/services/web", "exec sleep 1000")
		s := nstest.Boot(t, dir, nstest.Options{})
		s.Line("containerd ended", "/etc/containerd/config.toml")
		list := s.Output("/bin/sh", "-c", "until service list; do :; done 2>/dev/null")
		if !strings.Contains(list, "waiting") || !strings.Contains(list, "containerd does not answer yet") {
			t.Errorf("services without containerd:\n%s", list)
		}
		s.Signal(syscall.SIGUSR2)
		if code := s.Wait(); code != codeDone {
			t.Errorf("exit code %d", code)
		}
	})
}

// Files of the image in folders on which init mounts file systems are restored before
// any program runs that may need them.
func TestFilesBelowMounts(t *testing.T) {
	dir := system(t, map[string]string{
		"var/lib/app/data":         "data",
		"var/log/containerd/x.log": "",
		"var/run/app.pid":          "7",
		"run/keelson/unpacked":     "mark",
		"tmp/link":                 "-> /nowhere",
		"var/lock":                 "a file in place of one of init's folders",
	})
	must(t, os.Chown(filepath.Join(dir, "var/lib/app/data"), 100, 101))
	container(t, dir, "/containers/onboot/000-one", "cat /run/app.pid")
	container(t, dir, "/containers/services/web", "exec sleep 1000")
	s := nstest.Boot(t, dir, nstest.Options{})
	if e := s.Stage(timelineReady...); e.Stage != "ready" {
		t.Errorf("got %v", e)
	}
	s.Line("mounts files", "6 of the image copied", "not replaced: /var/lock")
	var st unix.Stat_t
	must(t, unix.Stat(s.Root+"/var/lib/app/data", &st))
	if got := s.File("/var/lib/app/data"); got != "data" || st.Uid != 100 || st.Gid != 101 {
		t.Errorf("%q of %d:%d", got, st.Uid, st.Gid)
	}
	if to, err := os.Readlink(s.Root + "/tmp/link"); to != "/nowhere" {
		t.Errorf("link to %q, %v", to, err)
	}
	if _, err := os.Lstat(s.Root + "/run/keelson/unpacked"); err == nil {
		t.Error("a marker file of the initramfs was copied")
	}
	must(t, os.WriteFile(s.Root+"/var/lib/app/data", []byte("changed"), 0o644))
	s.Signal(unix.SIGUSR2)
	if code := s.Wait(); code != codeDone {
		t.Errorf("exit code %d", code)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "var/lib/app/data")); string(text) != "data" {
		t.Errorf("the file in the image was changed to %q, %v", text, err)
	}
}
