package daemon

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"

	srvconfig "github.com/containerd/containerd/v2/cmd/containerd/server/config"
	"github.com/containerd/containerd/v2/defaults"
	"github.com/containerd/containerd/v2/version"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
	"github.com/pelletier/go-toml/v2"
)

const usage = `usage: containerd [FLAG]…

  -c, --config PATH      configuration file (default /etc/containerd/config.toml, if it exists)
  -l, --log-level LEVEL  trace, debug, info, warn, error, fatal or panic
  -a, --address PATH     socket of the API (default /run/containerd/containerd.sock)
      --root PATH        folder of persistent data (default /var/lib/containerd)
      --state PATH       folder of temporary data (default /run/containerd)
  -v, --version          print the version
`

// Plugins that listen on a socket.
const (
	grpcPlugin  = "io.containerd.server.v1.grpc"
	ttrpcPlugin = "io.containerd.server.v1.ttrpc"
)

// options is a parsed command line. Options that were not given are empty.
type options struct {
	config, level, address, root, state string
	version, help                       bool
}

func parse(args []string) (o options, err error) {
	flags := flag.NewFlagSet("containerd", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	for _, f := range []struct {
		into        *string
		name, short string
	}{
		{&o.config, "config", "c"}, {&o.level, "log-level", "l"}, {&o.address, "address", "a"},
		{&o.root, "root", ""}, {&o.state, "state", ""},
	} {
		flags.StringVar(f.into, f.name, "", "")
		if f.short != "" {
			flags.StringVar(f.into, f.short, "", "")
		}
	}
	flags.BoolVar(&o.version, "version", false, "")
	flags.BoolVar(&o.version, "v", false, "")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		o.help = true
	} else if err != nil {
		return o, fmt.Errorf("%w\n%s", err, usage)
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q: this containerd has no commands\n%s", flags.Arg(0), usage)
	}
	return o, nil
}

// configuration returns upstream's defaults, overridden by the file, then by the flags.
func (o options) configuration(ctx context.Context) (*srvconfig.Config, error) {
	c := &srvconfig.Config{
		Version: version.ConfigVersion,
		Root:    defaults.DefaultRootDir,
		State:   defaults.DefaultStateDir,
		Imports: []string{defaults.DefaultConfigIncludePattern},
		Plugins: map[string]any{grpcPlugin: map[string]any{"address": defaults.DefaultAddress}},
	}
	if err := o.load(ctx, c); err != nil {
		return nil, err
	}
	for _, dir := range []struct {
		into *string
		flag string
	}{{&c.Root, o.root}, {&c.State, o.state}} {
		if dir.flag == "" {
			continue
		}
		path, err := filepath.Abs(dir.flag)
		if err != nil {
			return nil, fmt.Errorf("cannot use folder %s: %w", dir.flag, err)
		}
		*dir.into = path
	}
	c.Debug.Level = cmp.Or(o.level, c.Debug.Level)
	return c, o.setAddress(c)
}

// path returns the path of the configuration file.
func (o options) path() string {
	return cmp.Or(o.config, filepath.Join(defaults.DefaultConfigDir, "config.toml"))
}

// load reads the configuration file. The default one need not exist.
func (o options) load(ctx context.Context, c *srvconfig.Config) error {
	path := o.path()
	if _, err := os.Stat(path); os.IsNotExist(err) && o.config == "" {
		return nil
	}
	plugins := registry.Graph(func(*plugin.Registration) bool { return false })
	err := srvconfig.LoadConfigWithPlugins(ctx, path, func() iter.Seq[plugin.Registration] { return slices.Values(plugins) }, c)
	if decode, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, column := decode.Position()
		return fmt.Errorf("cannot read configuration %s: line %d, column %d: %w", path, line, column, err)
	}
	if err != nil {
		return fmt.Errorf("cannot read configuration %s: %w", path, err)
	}
	return nil
}

// setAddress sets the socket of the API to that of the flag, and the socket of ttrpc to
// one beside it unless the file sets it.
func (o options) setAddress(c *srvconfig.Config) error {
	if o.address == "" {
		return nil
	}
	if c.Plugins == nil {
		c.Plugins = map[string]any{}
	}
	grpc, ok := c.Plugins[grpcPlugin].(map[string]any)
	if !ok && c.Plugins[grpcPlugin] != nil {
		return fmt.Errorf("cannot set the address: plugins.%q is not a table in configuration %s", grpcPlugin, o.path())
	}
	if grpc == nil {
		grpc = map[string]any{}
	}
	grpc["address"] = o.address
	c.Plugins[grpcPlugin] = grpc
	if c.Plugins[ttrpcPlugin] != nil {
		return nil
	}
	ttrpc := map[string]any{"address": o.address + ".ttrpc"}
	for _, owner := range []string{"uid", "gid"} {
		if id, ok := grpc[owner]; ok {
			ttrpc[owner] = id
		}
	}
	c.Plugins[ttrpcPlugin] = ttrpc
	return nil
}
