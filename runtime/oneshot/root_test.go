package oneshot

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keelson/runtime/bundle"
	"keelson/testvm/nstest"
)

func newBundle(t *testing.T) *bundle.Bundle {
	t.Helper()
	dir := t.TempDir()
	return &bundle.Bundle{Dir: dir, Name: filepath.Base(dir), Settings: bundle.Defaults()}
}

// container writes and loads a bundle.
func container(t *testing.T, name, script string, annotations map[string]string, runtime string) *bundle.Bundle {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	nstest.Bundle(t, dir, script, annotations, strings.ReplaceAll(runtime, "DIR", dir))
	b, err := bundle.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func options(t *testing.T) Options {
	t.Helper()
	runner := new(Runner)
	t.Cleanup(runner.Close)
	return Options{Runner: runner, Runtime: nstest.Runc(t), Root: "/run/runc", LogDir: "/run/log/onboot", LogPrefix: "onboot."}
}

// A configuration that the runtime refuses is reported with the field and the runtime's
// own message.
func TestRefusedConfiguration(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		for _, runtime := range []string{boundRoot, withLink} {
			b := container(t, "000-c", "exit 0", nil, runtime)
			path := filepath.Join(b.Dir, bundle.ConfigFile)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text = bytes.Replace(text, []byte(`"linux":{`), []byte(`"linux":{"sysctl":{"vm.swappiness":"1"},`), 1)
			if err := os.WriteFile(path, text, 0o644); err != nil {
				t.Fatal(err)
			}
			if b, err = bundle.Load(b.Dir); err != nil {
				t.Fatal(err)
			}
			r := Run(t.Context(), b, options(t))
			for _, want := range []string{path + ": linux.sysctl: vm.swappiness: ", "not in a separate kernel namespace"} {
				if !strings.Contains(r.Err, want) {
					t.Errorf("%q lacks %q", r.Err, want)
				}
			}
		}
	})
}

const (
	boundRoot = `{"mounts":[{"destination":"DIR/rootfs","source":"DIR/rootfs","options":["bind"]}]}`
	withBind  = `{"bindNS":{"net":"/run/netns/inner","mnt":"/run/ns/inner"}}`
	withLink  = `{"interfaces":[{"name":"in0","add":"veth","peer":"out0"}],"bindNS":{"net":"/run/netns/inner"}}`
)

func TestStatuses(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		for i, tt := range []struct {
			script, runtime, want string
			code                  int
		}{
			{"exit 0", boundRoot, "exited 0", 0},
			{"exit 1", boundRoot, "exited 1", 1},
			{"exit 3", "", "exited 3", 3},
			{"kill -SEGV $$", boundRoot, "exited 0", 0}, // the first process of a pid namespace takes no signals from inside
			{"sh -c 'kill -SEGV $$'; exit $?", boundRoot, "killed by SIGSEGV", 139},
			{"ip link show in0 >/dev/null && exit 4", withLink, "exited 4", 4},
		} {
			b := container(t, fmt.Sprintf("%03d-c", i), tt.script, nil, tt.runtime)
			r := Run(t.Context(), b, options(t))
			if r.String() != tt.want || r.ExitCode != tt.code {
				t.Errorf("%s: %+v, want %s\n%s", tt.script, r, tt.want, r.Output())
			}
			if left, _ := os.ReadDir("/run/runc"); len(left) != 0 {
				t.Errorf("%s: the container still exists", tt.script)
			}
		}
	})
}

func TestOutputGoesToItsFiles(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		for _, runtime := range []string{boundRoot, withBind} {
			r := Run(t.Context(), container(t, "000-talk", "echo to out; echo to err >&2", nil, runtime), options(t))
			for path, want := range map[string]string{
				"/run/log/onboot/onboot.000-talk.out.log": "to out\n", "/run/log/onboot/onboot.000-talk.log": "to err\n"} {
				if got, err := os.ReadFile(path); err != nil || string(got) != want {
					t.Errorf("%s: %q, %v; want %q (%v)", path, got, err, want, r)
				}
			}
			if got := string(r.Output()); got != "to out\nto err\n" {
				t.Errorf("output %q", got)
			}
		}
	})
}

// A configuration of `runc spec` has a terminal. The container runs without one, and its
// output is in the log.
func TestTerminalWithoutOne(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		for _, runtime := range []string{"", boundRoot, withBind} {
			b := container(t, "000-spec", "test -t 1 || echo to the log; exit 3", nil, runtime)
			path := filepath.Join(b.Dir, bundle.ConfigFile)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text = bytes.Replace(text, []byte(`"process":{`), []byte(`"process":{"terminal":true,`), 1)
			if err := os.WriteFile(path, text, 0o644); err != nil {
				t.Fatal(err)
			}
			if b, err = bundle.Load(b.Dir); err != nil || !b.Spec.Process.Terminal {
				t.Fatalf("%v: %s", err, text)
			}
			var said bytes.Buffer
			o := options(t)
			o.Logger = slog.New(slog.NewTextHandler(&said, nil))
			if r := Run(t.Context(), b, o); r.String() != "exited 3" || string(r.Output()) != "to the log\n" {
				t.Errorf("%+v, output %q", r, r.Output())
			}
			if n := strings.Count(said.String(), "process.terminal"); n != 1 {
				t.Errorf("process.terminal is reported %d times:\n%s", n, said.String())
			}
			if left, _ := filepath.Glob("/run/log/onboot/.config-*"); len(left) != 0 {
				t.Errorf("temporary files remain: %v", left)
			}
		}
	})
}

// A limit for which the kernel has no controller is logged and ignored.
func TestLimitWithoutController(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		controllers, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers")
		if err != nil {
			t.Fatal(err)
		}
		lacking := !strings.Contains(string(controllers), "memory")
		for _, runtime := range []string{boundRoot, withBind} {
			b := container(t, "000-limited", "exit 3", nil, runtime)
			path := filepath.Join(b.Dir, bundle.ConfigFile)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text = bytes.Replace(text, []byte(`"linux":{`), []byte(`"linux":{"resources":{"memory":{"limit":67108864}},`), 1)
			if err := os.WriteFile(path, text, 0o644); err != nil {
				t.Fatal(err)
			}
			if b, err = bundle.Load(b.Dir); err != nil || b.Spec.Linux.Resources == nil {
				t.Fatalf("%v: %s", err, text)
			}
			var said bytes.Buffer
			o := options(t)
			o.Logger = slog.New(slog.NewTextHandler(&said, nil))
			if r := Run(t.Context(), b, o); r.String() != "exited 3" {
				t.Errorf("%+v, output %q", r, r.Output())
			}
			if told := strings.Contains(said.String(), "linux.resources.memory.limit ignored: "); told != lacking {
				t.Errorf("with the controllers %sthe log has: %s", controllers, said.String())
			}
		}
	})
}

// All six kinds of hooks run in either way to start a container. runc runs those of kind
// poststart at the end of create.
func TestHooks(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		for _, runtime := range []string{boundRoot, withBind} {
			b := container(t, "000-hooks", "echo process >>/run/order", nil, runtime)
			path := filepath.Join(b.Dir, bundle.ConfigFile)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var hooks []string
			for _, name := range []string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"} {
				hooks = append(hooks, fmt.Sprintf(`"%s":[{"path":"/bin/sh","args":["sh","-c","echo %s >>/run/order"]}]`, name, name))
			}
			config := strings.Replace(string(text), `{`, `{"hooks":{`+strings.Join(hooks, ",")+`},`, 1)
			config = strings.Replace(config, `{"destination":"/proc"`, `{"destination":"/run","type":"bind","source":"/run","options":["rbind"]},{"destination":"/proc"`, 1)
			if err := os.WriteFile(path, []byte(config), 0o644); err != nil {
				t.Fatal(err)
			}
			if r := Run(t.Context(), b, options(t)); !r.OK() {
				t.Errorf("%+v: %s", r, r.Output())
			}
			order, err := os.ReadFile("/run/order")
			want := "prestart createRuntime createContainer startContainer process poststop"
			got := strings.Fields(strings.Replace(string(order), "poststart\n", "", 1))
			if err != nil || strings.Join(got, " ") != want || !strings.Contains(string(order), "poststart\n") {
				t.Errorf("hooks ran in the order %q, %v; want %s and poststart", order, err, want)
			}
			_ = os.Remove("/run/order")
		}
	})
}

func TestNetworkNamespaceStays(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		for _, runtime := range []string{withBind, withLink} { // the second replaces the first one's namespace
			r := Run(t.Context(), container(t, "001-netns", "true", nil, runtime), options(t))
			if !r.OK() {
				t.Fatal(r)
			}
		}
		if _, err := os.Stat("/sys/class/net/out0"); err != nil {
			t.Errorf("the namespace ended with its container: %v", err)
		}
	})
}

func TestRuntimeFailureIsToldFromExit(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		for _, runtime := range []string{boundRoot, withBind} {
			b := container(t, "000-broken", "exit 0", nil, runtime)
			b.Spec.Process.Args = nil // Load has checked it; break the file itself
			config := filepath.Join(b.Dir, "config.json")
			text, err := os.ReadFile(config)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(config, []byte(strings.ReplaceAll(string(text), "/bin/sh", "/bin/none")), 0o644); err != nil {
				t.Fatal(err)
			}
			r := Run(t.Context(), b, options(t))
			if !strings.Contains(r.Err, "/bin/none") || r.ExitCode != -1 {
				t.Errorf("result %+v", r)
			}
			if left, _ := os.ReadDir("/run/runc"); len(left) != 0 {
				t.Error("the container still exists")
			}
		}
	})
}

func TestCancelled(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r := Run(ctx, container(t, "000-late", "sleep 60", map[string]string{"keelson.stop.timeout": "100ms"}, boundRoot), options(t))
		if r.OK() || r.Err == "" {
			t.Errorf("result %+v", r)
		}
	})
}
