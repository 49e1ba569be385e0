package daemon

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	srvconfig "github.com/containerd/containerd/v2/cmd/containerd/server/config"
	"github.com/containerd/containerd/v2/pkg/timeout"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/log"
	"github.com/containerd/plugin"
)

// logged returns what is logged from now on.
func logged(t *testing.T) *bytes.Buffer {
	t.Helper()
	var out bytes.Buffer
	before := log.L.Logger.Out
	log.L.Logger.SetOutput(&out)
	t.Cleanup(func() { log.L.Logger.SetOutput(before) })
	return &out
}

var errBroken = errors.New("broken")

// A plugin that fails is left out, unless it is required or has registered its readiness.
func TestLoad(t *testing.T) {
	for name, tt := range map[string]struct {
		init     func(*plugin.InitContext) (any, error)
		required []string
		loaded   bool
		err      error
		log      string
	}{
		"good":                   {init: func(*plugin.InitContext) (any, error) { return 1, nil }, loaded: true},
		"good and required":      {init: func(*plugin.InitContext) (any, error) { return 1, nil }, required: []string{"test.p"}, loaded: true},
		"skipped":                {init: func(*plugin.InitContext) (any, error) { return nil, plugin.ErrSkipPlugin }, log: "skip"},
		"skipped, but required":  {init: func(*plugin.InitContext) (any, error) { return nil, plugin.ErrSkipPlugin }, required: []string{"test.p"}, err: plugin.ErrSkipPlugin},
		"broken":                 {init: func(*plugin.InitContext) (any, error) { return nil, errBroken }, log: "broken"},
		"broken and required":    {init: func(*plugin.InitContext) (any, error) { return nil, errBroken }, required: []string{"test.p"}, err: errBroken},
		"broken, other required": {init: func(*plugin.InitContext) (any, error) { return nil, errBroken }, required: []string{"test.q"}, log: "broken"},
		"broken after it registered its readiness": {init: func(ic *plugin.InitContext) (any, error) {
			ic.RegisterReadiness()()
			return nil, errBroken
		}, err: errBroken},
	} {
		t.Run(name, func(t *testing.T) {
			out := logged(t)
			l := loader{config: &srvconfig.Config{RequiredPlugins: tt.required}, ready: plugin.NewPluginSet()}
			p, err := l.load(context.Background(), plugin.Registration{Type: "test", ID: "p", InitFn: tt.init})
			if !errors.Is(err, tt.err) || p != nil != tt.loaded {
				t.Errorf("loaded %v, error %v, want %v and %v", p != nil, err, tt.loaded, tt.err)
			}
			first, more, _ := strings.Cut(out.String(), "\n")
			if !strings.Contains(first, `"loading plugin" id=test.p`) || tt.log == "" && more != "" || !strings.Contains(more, tt.log) {
				t.Errorf("log %q, want %q", out, tt.log)
			}
		})
	}
}

// A plugin gets its folders, the addresses and its part of the configuration.
func TestLoadGivesContext(t *testing.T) {
	type settings struct{ Size int }
	var properties map[string]string
	var config any
	l := loader{
		config: &srvconfig.Config{Version: 4, Root: "/r", State: "/s", Plugins: map[string]any{"test.p": map[string]any{"size": 7}}},
		ready:  plugin.NewPluginSet(), grpc: "g", ttrpc: "t",
	}
	_, err := l.load(context.Background(), plugin.Registration{Type: "test", ID: "p", Config: &settings{}, InitFn: func(ic *plugin.InitContext) (any, error) {
		properties, config = ic.Properties, ic.Config
		return 1, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		plugins.PropertyRootDir: "/r/test.p", plugins.PropertyStateDir: "/s/test.p",
		plugins.PropertyGRPCAddress: "g", plugins.PropertyTTRPCAddress: "t",
	} {
		if properties[key] != want {
			t.Errorf("%s: %q, want %q", key, properties[key], want)
		}
	}
	if s, ok := config.(*settings); !ok || s.Size != 7 {
		t.Errorf("configuration %+v", config)
	}
}

// fake is an instance of a plugin.
type fake struct {
	name   string
	calls  *[]string
	failed error
}

func (f fake) Start(context.Context) error {
	*f.calls = append(*f.calls, "start "+f.name)
	return f.failed
}

func (f fake) Close() error {
	*f.calls = append(*f.calls, "close "+f.name)
	return f.failed
}

// Plugins are closed in reverse, also after one fails; only those that serve are started.
func TestServer(t *testing.T) {
	out := logged(t)
	var calls []string
	l := loader{config: &srvconfig.Config{}, ready: plugin.NewPluginSet()}
	s := &server{}
	for _, p := range []struct {
		kind     plugin.Type
		instance any
	}{
		{"test", fake{name: "a", calls: &calls, failed: errBroken}},
		{plugins.ServerPlugin, fake{name: "b", calls: &calls}},
		{plugins.ServerPlugin, 1},
		{"test", fake{name: "c", calls: &calls, failed: errBroken}},
	} {
		r := plugin.Registration{Type: p.kind, ID: strconv.Itoa(len(s.plugins)), InitFn: func(*plugin.InitContext) (any, error) { return p.instance, nil }}
		loaded, err := l.load(context.Background(), r)
		if err != nil {
			t.Fatal(err)
		}
		s.add(context.Background(), loaded)
	}
	s.add(context.Background(), nil)
	if err := s.start(context.Background()); err != nil {
		t.Error(err)
	}
	s.stop()
	if want := []string{"start b", "close c", "close b", "close a"}; !slices.Equal(calls, want) {
		t.Errorf("calls %q, want %q", calls, want)
	}
	if !strings.Contains(out.String(), "serves nothing") || strings.Count(out.String(), "broken") != 2 {
		t.Errorf("log %s", out)
	}
}

func TestAddress(t *testing.T) {
	c := &srvconfig.Config{Plugins: map[string]any{"a": map[string]any{"address": "/x"}, "b": map[string]any{"address": ""}, "c": 1, "d": map[string]any{"address": 1}}}
	for id, want := range map[string]string{"a": "/x", "b": "/y", "c": "/y", "d": "/y", "e": "/y"} {
		if got := address(c, id, "/y"); got != want {
			t.Errorf("%s: %q, want %q", id, got, want)
		}
	}
}

func TestCreateFolders(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", "/before")
	c := &srvconfig.Config{Root: filepath.Join(dir, "a/root"), State: filepath.Join(dir, "a/state"), TempDir: filepath.Join(dir, "tmp")}
	if err := os.MkdirAll(c.Root, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := createFolders(c); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{c.Root: 0o700, c.State: 0o711, c.TempDir: 0o700} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", path, info, err, want)
		}
	}
	if got := os.Getenv("TMPDIR"); got != c.TempDir {
		t.Errorf("TMPDIR %s", got)
	}
	if err := createFolders(&srvconfig.Config{Root: dir, State: dir}); err == nil {
		t.Error("one folder for both is accepted")
	}
	c.Root = filepath.Join(dir, "file/root")
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := createFolders(c); err == nil {
		t.Error("no error for a folder that cannot be created")
	}
}

// On cgroup v2 the cgroup must exist, and on v1 it is created in each hierarchy.
func TestJoinCgroup(t *testing.T) {
	root := t.TempDir()
	write := func(path, text string) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	read := func(path string) string {
		text, _ := os.ReadFile(filepath.Join(root, path))
		return string(text)
	}
	own := strconv.Itoa(os.Getpid())
	write("v2/cgroup.controllers", "")
	write("v2/a/cgroup.procs", "")
	if err := joinCgroup(filepath.Join(root, "v2"), "/a"); err != nil || read("v2/a/cgroup.procs") != own {
		t.Errorf("v2: %q, %v", read("v2/a/cgroup.procs"), err)
	}
	if err := joinCgroup(filepath.Join(root, "v2"), "/b"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a cgroup that does not exist: %v", err)
	}
	write("v1/cpu/cgroup.procs", "")
	write("v1/cpuset/cgroup.procs", "")
	write("v1/cpuset/cpuset.cpus", "0-3")
	write("v1/cpuset/cpuset.mems", "0")
	for range 2 { // again after a restart
		if err := joinCgroup(filepath.Join(root, "v1"), "/a/b/"); err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string]string{
			"v1/cpu/a/b/cgroup.procs": own, "v1/cpuset/a/b/cgroup.procs": own,
			"v1/cpuset/a/cpuset.cpus": "0-3", "v1/cpuset/a/b/cpuset.cpus": "0-3", "v1/cpuset/a/b/cpuset.mems": "0",
		} {
			if got := read(path); got != want {
				t.Errorf("%s: %q, want %q", path, got, want)
			}
		}
	}
}

func TestSetTimeouts(t *testing.T) {
	const key = "keelson.test"
	if err := setTimeouts(map[string]string{key: "3s"}); err != nil || timeout.Get(key) != 3*time.Second {
		t.Errorf("%v, %v", timeout.Get(key), err)
	}
	if err := setTimeouts(map[string]string{key: "3 s"}); err == nil {
		t.Error("a bad time is accepted")
	}
}
