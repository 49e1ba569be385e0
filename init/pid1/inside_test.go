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

// A whole boot, the guest's own programs and containers, inside of another
// system; as the first process of a PID namespace.
func TestWholeBoot(t *testing.T) {
	dir := system(t, map[string]string{"etc/hostname": "# the name of this machine\nbox\nother\n"})
	container(t, dir, "/containers/onboot/000-one", "echo one")
	container(t, dir, "/containers/services/web", "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done")
	s := nstest.Boot(t, dir, nstest.Options{CmdLine: "keelson.loglevel=debug"})
	s.Stage(timelineReady...)
	if !strings.Contains(s.Output("/usr/bin/service", "list"), "web") || strings.Contains(s.Console(), "] modules") {
		t.Error("it is not as it should be")
	}
	s.Line("hostname: box")
	build := strings.TrimPrefix(s.Stage(timeline.Kernel).Result, "keelson ")
	for program, path := range map[string]string{"init": "/init", "service": "/usr/bin/service"} {
		if out := s.Output(path, "version"); build == "" || !strings.HasPrefix(out, program+" "+build+" (go1.") {
			t.Errorf("%s version: %q; at boot: %q", program, out, build)
		}
	}
	if strings.Contains(s.Console(), "mounts files") {
		t.Error("files were restored, of which there are none")
	}
	s.Signal(unix.SIGTERM)
	if code := s.Wait(); code != codeReboot {
		t.Errorf("exit code %d", code)
	}
}

// Without a place to write there is no system, and a code that says so.
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

// The same where /init is not the first process: it adopts what loses its
// parent, and at the end nothing runs and the rest of the system is untouched.
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
			t.Errorf("processes are left: %v", parents)
		}
	})
}

// A volume that a container manager has mounted on /var is used and stays.
func TestGivenMounts(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		dir := system(t, nil)
		container(t, dir, "/containers/services/web", "echo told; exec sleep 1000")
		must(t, unix.Mount("volume", filepath.Join(dir, "var"), "tmpfs", 0, ""))
		defer func() { _ = unix.Unmount(filepath.Join(dir, "var"), 0) }()
		s := nstest.Boot(t, dir, nstest.Options{})
		s.Stage("ready")
		if !strings.Contains(s.Output("/bin/sh", "-c", "while read x; do echo $x; done </proc/1/mounts"), "volume /var") {
			t.Error("the volume is not on /var")
		}
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			if log, _ := os.ReadFile(filepath.Join(s.Root, "var/log/web.out.log")); len(log) > 0 {
				break // It runs as soon as it is started, and prints when it gets to it.
			}
		}
		s.Signal(unix.SIGUSR2)
		if code := s.Wait(); code != codeDone {
			t.Errorf("exit code %d", code)
		}
		if log, err := os.ReadFile(filepath.Join(dir, "var/log/web.out.log")); err != nil || string(log) != "told\n" {
			t.Errorf("the service's log on the volume: %q, %v", log, err)
		}
	})
}

// Only a process of another root or other mounts than its parent's begins a
// system by itself.
func TestMistakenStart(t *testing.T) {
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

// containerd's two files are heeded; what is wrong in one is told.
func TestContainerdFiles(t *testing.T) {
	t.Run("heeded", func(t *testing.T) {
		dir := system(t, map[string]string{
			"etc/containerd/config.toml":         "version = 3\nroot = \"/var/lib/elsewhere\"\n",
			"etc/containerd/runtime-config.toml": "cliopts = \"--log-level debug\"\nstderr = \"/run/told\"\n",
		})
		container(t, dir, "/containers/services/web", "exec sleep 1000")
		s := nstest.Boot(t, dir, nstest.Options{})
		s.Stage("ready")
		if !strings.Contains(s.File("/run/told"), "level=debug") {
			t.Error("containerd's arguments or output are not as set")
		}
		if _, err := os.Stat(filepath.Join(s.Root, "var/lib/elsewhere/io.containerd.metadata.v1.bolt")); err != nil {
			t.Error(err)
		}
		s.Signal(syscall.SIGUSR2)
		s.Wait()
		s.Line("shutdown containerd: exited 0")
	})
	t.Run("settings of no use", func(t *testing.T) {
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

// Files of the image on whose folders init mounts file systems are there, before
// anything that could want them; an image without such files has no step for it.
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
	s.Line("mounts files", "6 of the image copied", "left as init made them: /var/lock")
	var st unix.Stat_t
	must(t, unix.Stat(s.Root+"/var/lib/app/data", &st))
	if got := s.File("/var/lib/app/data"); got != "data" || st.Uid != 100 || st.Gid != 101 {
		t.Errorf("%q of %d:%d", got, st.Uid, st.Gid)
	}
	if to, err := os.Readlink(s.Root + "/tmp/link"); to != "/nowhere" {
		t.Errorf("link to %q, %v", to, err)
	}
	if _, err := os.Lstat(s.Root + "/run/keelson/unpacked"); err == nil {
		t.Error("a mark of the initramfs was copied")
	}
	must(t, os.WriteFile(s.Root+"/var/lib/app/data", []byte("changed"), 0o644))
	s.Signal(unix.SIGUSR2)
	if code := s.Wait(); code != codeDone {
		t.Errorf("exit code %d", code)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "var/lib/app/data")); string(text) != "data" {
		t.Errorf("the image has %q, %v", text, err)
	}
}
