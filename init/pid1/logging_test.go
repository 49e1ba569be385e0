package pid1

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"keelson/testvm/nstest"
	"keelson/testvm/tier"
)

// LinuxKit's logging package in an image without a shell: its script starts the daemon,
// which receives all output, and a service writes that to files as in LinuxKit, whose
// older parts are NAME.log.0 and so on.
func TestLoggingPackage(t *testing.T) {
	const lines = 300
	tier.Root(t)
	tier.Tool(t, "go", "golang-go")
	dir := system(t, map[string]string{
		"etc/init.d/002-logging": shell + "\n# memlogd binds its sockets before it ends\nmemlogd -daemonize\n",
		"etc/init.d/003-more":    shell + "for i in 1 2 3; do :; done\n",
	})
	must(t, os.RemoveAll(filepath.Join(dir, "bin")))
	build(t, dir+"/usr/bin/memlogd", "keelson/testvm/testapp")
	container(t, dir, "/containers/onboot/000-one", "echo said onboot")
	container(t, dir, "/containers/services/web", fmt.Sprintf("i=0; while [ $i -lt %d ]; do echo line $i; i=$((i+1)); done; exec sleep 1000", lines))
	const bundle = "/containers/services/logwrite"
	nstest.Bundle(t, dir+bundle, "exec /bin/testapp logwrite 2000", nil, fmt.Sprintf(`{"mounts":[
		{"destination":"%[1]s/rootfs","source":"%[1]s/rootfs","options":["bind"]},
		{"destination":"var/run","source":"/run","options":["rbind"]},
		{"destination":"var/log","source":"/var/log","options":["rbind"]}]}`, bundle))
	for _, d := range []string{"run", "log"} {
		must(t, os.MkdirAll(filepath.Join(dir, bundle, "rootfs/var", d), 0o755))
	}
	must(t, os.Link(dir+"/usr/bin/memlogd", dir+bundle+"/rootfs/bin/testapp"))

	s := nstest.Boot(t, dir, nstest.Options{})
	s.Line("ready: 2 services running")
	up := s.Console()
	wantEvents(t, events(up, "script", "onboot", "ready"), "script init.d/002-logging: exited 0",
		"script init.d/003-more: failed: cannot start it: its interpreter /bin/sh is not in the image, and it cannot be run without: line 2: for needs a shell; "+
			"add an image with a static one to the init section",
		"onboot 000-one: exited 0", "ready: 2 services running")
	if !strings.Contains(up, "said onboot") {
		t.Error("the console does not show the output of the onboot container")
	}
	logs := func() string { return s.Output("/usr/bin/service", "logs", "web") }
	ends := fmt.Sprintf("web.out line %d\n", lines-1)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		last, err := os.ReadFile(filepath.Join(s.Root, "var/log/web.out.log"))
		if err == nil && strings.HasSuffix(string(last), ends) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the log ends with %q, %v", last[max(0, len(last)-200):], err)
		}
	}
	s.File("/var/log/web.out.log.0")
	next := 0
	for line := range strings.Lines(logs()) {
		_, text, _ := strings.Cut(strings.TrimSpace(line), " web.out ")
		if want := fmt.Sprint("line ", next); text != want {
			t.Fatalf("line %q, want %s", line, want)
		}
		next++
	}
	if next != lines {
		t.Errorf("the log ends at line %d of %d", next, lines)
	}
	// Without files, the lines come from the daemon.
	s.Output("/usr/bin/service", "stop", "logwrite")
	old, err := filepath.Glob(filepath.Join(s.Root, "var/log/web.*"))
	must(t, err)
	for _, path := range old {
		must(t, os.Remove(path))
	}
	if got := logs(); !strings.HasPrefix(got, "line 0\nline 1\n") || !strings.HasSuffix(got, strings.TrimPrefix(ends, "web.out ")) {
		t.Errorf("lines of the daemon: %q", got)
	}
	s.Signal(syscall.SIGUSR2)
	if code := s.Wait(); code != codeDone {
		t.Errorf("exit code %d", code)
	}
}
