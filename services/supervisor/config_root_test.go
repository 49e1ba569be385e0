package supervisor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keelson/runtime/nstest"
	"keelson/services/control"
)

// The runtime reads what config.json says: fields that nobody here knows, numbers
// of any size, paths that are relative to the bundle, and a terminal. A command
// that is not there is a failure to start.
func TestConfigAsItIs(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		s := prepareSystem(t)
		for _, name := range []string{"plain", "tty", "missing"} {
			s.add(name, "cat /given; [ -t 1 ] && echo on a terminal; exec sleep 1000", nil)
			path := filepath.Join(s.dir, name, "config.json")
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			config := strings.Replace(string(text), `{`, `{"newer":{"mask":18446744073709551615,"by":1.10},`, 1)
			config = strings.Replace(config, `"options":["mode=755"]}`, `"options":["mode=755"]},`+
				`{"destination":"/dev/pts","type":"devpts","source":"devpts","options":["newinstance","ptmxmode=0666"]},`+
				`{"destination":"/given","source":"given","options":["bind"]}`, 1)
			if name != "plain" {
				config = strings.Replace(config, `"process":{`, `"process":{"terminal":true,`, 1)
			}
			if name == "missing" {
				config = strings.Replace(config, `"/bin/sh"`, `"/nonexistent"`, 1)
			}
			s.write(path, config)
			s.write(filepath.Join(s.dir, name, "given"), "given\n")
		}
		s.begin()
		for name, want := range map[string]string{"plain": "given\n", "tty": "on a terminal"} {
			s.until(name, "running", running)
			s.until(name, "logged", func(control.Service) bool {
				text, _ := os.ReadFile("/var/log/" + name + ".out.log")
				return strings.Contains(string(text), want)
			})
			text, err := os.ReadFile("/run/containerd/io.containerd.runtime.v2.task/services.linuxkit/" + name + "/config.json")
			if err != nil || !strings.Contains(string(text), `"newer":{"mask":18446744073709551615,"by":1.10}`) {
				t.Errorf("%s: the runtime reads %s, %v", name, text, err)
			}
		}
		s.until("missing", "failed", func(v control.Service) bool { return strings.Contains(v.Error, "/nonexistent") })
	})
}
