// Command containerd is containerd with only the plugins that a task needs
// whose root filesystem is a plain directory: no images, registries, CRI, NRI,
// sandboxes or streaming. It takes upstream's command line and config.toml.
//
// An image that wants more brings its own /usr/bin/containerd: the supervisor
// speaks upstream's API and does not care which of the two answers.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/containerd/containerd/v2/cmd/containerd/command"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
	"github.com/pelletier/go-toml/v2"

	// The options type of the runc runtime, so that containerd can decode
	// what the supervisor sends it.
	_ "github.com/containerd/containerd/api/types/runc/options"

	// Running tasks: the shim manager and the service over it.
	_ "github.com/containerd/containerd/v2/core/runtime/v2"
	_ "github.com/containerd/containerd/v2/plugins/services/tasks"

	// What containers and tasks are recorded in. The metadata database does
	// not load without a content store and a snapshotter; native is the
	// smallest.
	_ "github.com/containerd/containerd/v2/plugins/content/local/plugin"
	_ "github.com/containerd/containerd/v2/plugins/gc"
	_ "github.com/containerd/containerd/v2/plugins/leases"
	_ "github.com/containerd/containerd/v2/plugins/metadata"
	_ "github.com/containerd/containerd/v2/plugins/mount"
	_ "github.com/containerd/containerd/v2/plugins/services/containers"
	_ "github.com/containerd/containerd/v2/plugins/services/leases"
	_ "github.com/containerd/containerd/v2/plugins/services/namespaces"
	_ "github.com/containerd/containerd/v2/plugins/snapshots/native/plugin"

	// How it is asked and what it tells.
	_ "github.com/containerd/containerd/v2/plugins/events"
	_ "github.com/containerd/containerd/v2/plugins/server/grpc"
	_ "github.com/containerd/containerd/v2/plugins/server/ttrpc"
	_ "github.com/containerd/containerd/v2/plugins/services/events"
	_ "github.com/containerd/containerd/v2/plugins/services/introspection"
	_ "github.com/containerd/containerd/v2/plugins/services/version"
	_ "github.com/containerd/containerd/v2/plugins/services/warning"
)

// collectAt lets the heap grow to 16 MB before the first collection: one of the
// usual 4 MB would come several times while containerd starts.
const collectAt = 400

// defaultRoot is where containerd keeps what survives a boot, unless its
// configuration names another place.
const defaultRoot = "/var/lib/containerd"

// withoutMetrics takes out of the registry what counts calls for a metrics
// endpoint: this containerd has none, and making the tables takes a fifth of the
// time it needs to start.
func withoutMetrics() {
	all := registry.Graph(func(*plugin.Registration) bool { return false })
	registry.Reset()
	for _, r := range all {
		if r.Type != plugins.MetricsPlugin {
			registry.Register(&r)
		}
	}
}

func main() {
	sweep(defaultRoot)
	withoutMetrics()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	if err := command.App().Run(context.Background(), os.Args); err != nil {
		if _, ok := errors.AsType[*toml.DecodeError](err); ok { // It does not say of what file.
			err = fmt.Errorf("cannot read its configuration (/etc/containerd/config.toml unless --config names another): %w", err)
		}
		fmt.Fprintln(os.Stderr, "containerd:", err)
		os.Exit(1)
	}
}
