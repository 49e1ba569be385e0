// Command shim is containerd's shim for runc (containerd-shim-runc-v2), with
// another temper of the garbage collector: upstream's makes it run several
// times while a service starts, which costs more than all else the shim does.
//
// It lets created containers go itself where upstream's runs "runc start" for it.
//
// It is built with the tag no_grpc, and lies in /usr/libexec: containerd knows
// services/cmd/shimstart by this name. An image that brings its own
// /usr/bin/containerd-shim-runc-v2 has that used.
package main

import (
	"context"
	"runtime/debug"

	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/manager"
	_ "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/task/plugin"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/go-runc"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
)

// collectAt lets the heap grow to 8 MB, four times what a shim keeps, before the
// first collection; the shim gives memory back twice a minute anyhow.
const collectAt = 200

func main() {
	// As a plugin, since it has to come after upstream's own setting, and before
	// any work.
	registry.Register(&plugin.Registration{
		Type: plugins.InternalPlugin,
		ID:   "collector",
		InitFn: func(*plugin.InitContext) (any, error) {
			debug.SetGCPercent(collectAt)
			return nil, nil
		},
	})
	registry.Register(&plugin.Registration{
		Type:     plugins.ServicePlugin,
		ID:       "starter",
		Requires: []plugin.Type{plugins.TTRPCPlugin}, // The service sets the monitor that is wrapped here.
		InitFn: func(*plugin.InitContext) (any, error) {
			runc.Monitor = starter{runc.Monitor}
			return nil, nil
		},
	})
	shim.RunShim(context.Background(), manager.NewShimManager("io.containerd.runc.v2"))
}
