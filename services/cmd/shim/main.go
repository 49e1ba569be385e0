// Command shim is containerd's shim for runc (containerd-shim-runc-v2) with three changes:
//
//   - The garbage collector runs less often. With upstream's setting it runs several times
//     while a service starts, which takes more time than the rest of the shim.
//   - It starts created containers itself, where upstream's shim runs "runc start".
//   - It passes the listening sockets that the supervisor offers to "runc create".
//
// It is built with the tag no_grpc and installed in /usr/libexec; containerd runs
// services/cmd/shimstart under the shim's name in /usr/bin. If an image has its own
// /usr/bin/containerd-shim-runc-v2, that is used instead.
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

// gcPercent lets the heap grow to 8 MB, four times of what a shim uses, before the first
// collection. The shim returns free memory to the system twice a minute anyway.
const gcPercent = 200

func main() {
	// A plugin runs after upstream's own setting, and before the shim does any work.
	registry.Register(&plugin.Registration{
		Type: plugins.InternalPlugin,
		ID:   "collector",
		InitFn: func(*plugin.InitContext) (any, error) {
			debug.SetGCPercent(gcPercent)
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
