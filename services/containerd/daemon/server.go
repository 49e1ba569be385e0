package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	srvconfig "github.com/containerd/containerd/v2/cmd/containerd/server/config"
	"github.com/containerd/containerd/v2/defaults"
	"github.com/containerd/containerd/v2/pkg/sys"
	"github.com/containerd/containerd/v2/pkg/timeout"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/log"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
)

// server runs the registered plugins. It stands for upstream's package
// cmd/containerd/server, which links clients of proxy plugins and two libraries of cgroups
// with a compiler of eBPF: 42 packages that the guest has no use for.
type server struct {
	plugins   []*plugin.Plugin // those that could be initialised, in that order
	listeners []listener
}

// listener is what plugins that serve a socket implement.
type listener interface {
	Start(context.Context) error
}

// newServer initialises all plugins that the configuration does not disable. A plugin that
// fails is logged and left out, unless the configuration requires it.
func newServer(ctx context.Context, config *srvconfig.Config) (*server, error) {
	if err := setProcess(ctx, config); err != nil {
		return nil, err
	}
	if err := setTimeouts(config.Timeouts); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(config.ProxyPlugins)) {
		log.G(ctx).WithField("id", name).Warn("this containerd has no proxy plugins: the setting is ignored")
	}
	l := loader{
		config: config,
		ready:  plugin.NewPluginSet(),
		grpc:   address(config, grpcPlugin, defaults.DefaultAddress),
		ttrpc:  address(config, ttrpcPlugin, defaults.DefaultAddress+".ttrpc"),
	}
	s := &server{}
	for _, r := range registry.Graph(srvconfig.V2DisabledFilter(config.DisabledPlugins)) {
		p, err := l.load(ctx, r)
		if err != nil {
			return nil, err
		}
		s.add(ctx, p)
	}
	for _, id := range config.RequiredPlugins {
		if !slices.ContainsFunc(s.plugins, func(p *plugin.Plugin) bool { return p.Registration.URI() == id }) {
			return nil, fmt.Errorf("cannot load required plugin %s: this containerd does not have it, or the configuration disables it", id)
		}
	}
	return s, nil
}

// loader initialises plugins one after the other.
type loader struct {
	config      *srvconfig.Config
	ready       *plugin.Set
	grpc, ttrpc string // addresses
}

// load initialises a plugin. If that fails, it returns nil, and an error if the plugin is
// required.
func (l *loader) load(ctx context.Context, r plugin.Registration) (*plugin.Plugin, error) {
	id := r.URI()
	log.G(ctx).WithFields(log.Fields{"id": id, "type": r.Type}).Info("loading plugin")
	ic := plugin.NewContext(ctx, l.ready, map[string]string{
		plugins.PropertyRootDir:      filepath.Join(l.config.Root, id),
		plugins.PropertyStateDir:     filepath.Join(l.config.State, id),
		plugins.PropertyGRPCAddress:  l.grpc,
		plugins.PropertyTTRPCAddress: l.ttrpc,
	})
	needed := slices.Contains(l.config.RequiredPlugins, id)
	// Nothing waits until plugins are ready, but one that registers for it must not fail.
	ic.RegisterReadiness = func() func() {
		needed = true
		return func() {}
	}
	if r.Config != nil {
		c, err := l.config.Decode(ctx, id, r.Config)
		if err != nil {
			return nil, fmt.Errorf("cannot read the configuration of plugin %s: %w", id, err)
		}
		ic.Config = c
	}
	p := r.Init(ic)
	if err := l.ready.Add(p); err != nil {
		return nil, fmt.Errorf("cannot add plugin %s: %w", id, err)
	}
	_, err := p.Instance()
	if err == nil {
		return p, nil
	}
	entry := log.G(ctx).WithError(err).WithField("id", id)
	switch {
	case needed:
		return nil, fmt.Errorf("cannot load required plugin %s: %w", id, err)
	case plugin.IsSkipPlugin(err):
		entry.Info("skip loading plugin")
	default:
		entry.Warn("failed to load plugin")
	}
	return nil, nil
}

// add adds a plugin. nil stands for one that could not be initialised.
func (s *server) add(ctx context.Context, p *plugin.Plugin) {
	if p == nil {
		return
	}
	s.plugins = append(s.plugins, p)
	if p.Registration.Type != plugins.ServerPlugin {
		return
	}
	instance, _ := p.Instance()
	if l, ok := instance.(listener); ok {
		s.listeners = append(s.listeners, l)
		return
	}
	log.G(ctx).WithField("id", p.Registration.URI()).Warn("the plugin serves nothing")
}

// start begins to serve, and returns.
func (s *server) start(ctx context.Context) error {
	for _, l := range s.listeners {
		if err := l.Start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// stop closes the plugins, those that need others first.
func (s *server) stop() {
	for _, p := range slices.Backward(s.plugins) {
		instance, _ := p.Instance()
		c, ok := instance.(io.Closer)
		if !ok {
			continue
		}
		if err := c.Close(); err != nil {
			log.L.WithError(err).WithField("id", p.Registration.URI()).Error("cannot close plugin")
		}
	}
}

// address returns the address that the configuration gives to a plugin.
func address(config *srvconfig.Config, id, otherwise string) string {
	settings, _ := config.Plugins[id].(map[string]any)
	if a, _ := settings["address"].(string); a != "" {
		return a
	}
	return otherwise
}

// createFolders creates the folders of the configuration with upstream's modes: containers
// in user namespaces pass the one of the state.
func createFolders(config *srvconfig.Config) error {
	if config.Root == config.State {
		return fmt.Errorf("cannot use %s for both root and state", config.Root)
	}
	for _, dir := range []struct {
		path string
		mode os.FileMode
	}{{config.Root, 0o700}, {config.State, 0o711}, {config.TempDir, 0o700}} {
		if dir.path == "" {
			continue
		}
		if err := os.MkdirAll(dir.path, dir.mode); err != nil {
			return fmt.Errorf("cannot create a folder of containerd: %w", err)
		}
		if dir.path == config.State {
			continue
		}
		// An earlier version may have created it with another mode.
		if err := os.Chmod(dir.path, dir.mode); err != nil && !errors.Is(err, os.ErrPermission) {
			return fmt.Errorf("cannot protect a folder of containerd: %w", err)
		}
	}
	if config.TempDir == "" {
		return nil
	}
	if err := os.Setenv("TMPDIR", config.TempDir); err != nil {
		return fmt.Errorf("cannot use %s for temporary files: %w", config.TempDir, err)
	}
	return nil
}

// setProcess moves this process to the cgroup of the configuration and sets its
// oom_score_adj (proc_pid_oom_score_adj(5)), each only if it is given.
func setProcess(ctx context.Context, config *srvconfig.Config) error {
	if score := config.OOMScore; score != 0 {
		if err := sys.SetOOMScore(os.Getpid(), score); err != nil {
			log.G(ctx).WithError(err).Errorf("cannot set oom_score_adj to %d", score)
		}
	}
	if config.Cgroup.Path == "" {
		return nil
	}
	return joinCgroup(cgroupRoot, config.Cgroup.Path)
}

// cgroupRoot is where cgroups are mounted.
const cgroupRoot = "/sys/fs/cgroup"

// joinCgroup moves this process to a cgroup: on cgroup v2 to one that exists, and on v1 to
// one that it creates in each hierarchy if necessary.
func joinCgroup(root, path string) error {
	procs := []string{filepath.Join(root, path, "cgroup.procs")}
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err != nil {
		if procs, err = createV1(root, path); err != nil {
			return err
		}
	}
	for _, file := range procs {
		if err := os.WriteFile(file, []byte(strconv.Itoa(os.Getpid())), 0); err != nil {
			return fmt.Errorf("cannot move containerd to cgroup %s: %w", path, err)
		}
	}
	return nil
}

// createV1 creates a cgroup in each hierarchy, and returns the files that take processes.
func createV1(root, path string) ([]string, error) {
	hierarchies, err := filepath.Glob(filepath.Join(root, "*", "cgroup.procs"))
	if err != nil {
		return nil, err
	}
	var procs []string
	for _, h := range hierarchies {
		dir := filepath.Dir(h)
		for _, name := range strings.Split(strings.Trim(path, "/"), "/") {
			parent := dir
			dir = filepath.Join(parent, name)
			if err := makeV1(dir, parent); err != nil {
				return nil, fmt.Errorf("cannot create cgroup %s: %w", path, err)
			}
		}
		procs = append(procs, filepath.Join(dir, "cgroup.procs"))
	}
	return procs, nil
}

// makeV1 creates a cgroup unless it exists. A new one of the controller cpuset takes no
// processes before it has processors and memory nodes (kernel doc admin-guide/cgroup-v1/cpusets.rst).
func makeV1(dir, parent string) error {
	if err := os.Mkdir(dir, 0o755); errors.Is(err, os.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		text, err := os.ReadFile(filepath.Join(parent, name))
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func setTimeouts(timeouts map[string]string) error {
	for key, text := range timeouts {
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("cannot use %q as timeout %s: %w", text, key, err)
		}
		timeout.Set(key, d)
	}
	return nil
}
