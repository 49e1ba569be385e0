package supervisor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keelson/services/control"
	"keelson/testvm/nstest"
)

// change replaces text in the configuration of a service, which must contain it.
func (s *system) change(name, old, new string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name, "config.json")
	text, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(text), old) {
		s.t.Fatalf("%s: %v: %s", path, err, text)
	}
	s.write(path, strings.Replace(string(text), old, new, 1))
}

// The output of the terminal of a service (process.terminal) is its log. A service whose
// command does not exist fails with the message of the runtime, with a terminal or
// without.
func TestTerminal(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		s := prepareSystem(t)
		const terminal, program = `"process":{"terminal":true,`, `"/bin/sh","-c","exec sleep 1000"`
		for _, name := range []string{"missing", "missing-tty"} {
			s.add(name, "exec sleep 1000", map[string]string{"keelson.restart.limit": "1/10m"})
			s.change(name, program, `"/nonexistent"`)
		}
		s.add("tty", "test -t 1 && echo on a terminal; exec sleep 1000", nil)
		for _, name := range []string{"missing-tty", "tty"} {
			s.change(name, `"process":{`, terminal)
			s.change(name, `"options":["mode=755"]}`, `"options":["mode=755"]},{"destination":"/dev/pts","type":"devpts","source":"devpts","options":["newinstance","ptmxmode=0666"]}`)
		}
		begin := time.Now()
		s.begin()
		for _, name := range []string{"missing", "missing-tty"} {
			v := s.until(name, "failed", func(v control.Service) bool { return v.State == "failed" })
			if !strings.Contains(v.Error, `"/nonexistent"`) || !strings.Contains(v.Error, "no such file or directory") {
				t.Errorf("%s: %+v", name, v)
			}
			t.Logf("%s: failed twice after %v", name, time.Since(begin))
		}
		s.until("tty", "running", running)
		s.untilLog("tty.out.log", "on a terminal\r\n")
	})
}

// The runtime gets the fields of config.json that this program does not know, and
// binds that are relative to the bundle.
func TestUnknownFields(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		s := prepareSystem(t)
		s.add("web", "read line </data; echo $line; exec sleep 1000", nil)
		s.change("web", `{`, `{"newer":{"mask":18446744073709551615},`)
		s.change("web", `"process":{`, `"process":{"newer":[1.10],`)
		s.change("web", `{"destination":"/proc"`, `{"destination":"/data","type":"bind","source":"data","options":["bind","ro"]},{"destination":"/proc"`)
		s.write(filepath.Join(s.dir, "web", "data"), "from the bundle\n")
		s.begin()
		s.until("web", "running", running)
		s.untilLog("web.out.log", "from the bundle\n")
		text, err := os.ReadFile("/run/containerd/io.containerd.runtime.v2.task/services.linuxkit/web/config.json")
		if err != nil {
			t.Fatal(err)
		}
		for _, field := range []string{`"newer":{"mask":18446744073709551615}`, `"newer":[1.10]`} {
			if !strings.Contains(string(text), field) {
				t.Errorf("the runtime has no %s: %s", field, text)
			}
		}
	})
}
