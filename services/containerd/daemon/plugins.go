package daemon

import (
	// The options type of the runc runtime, so that containerd can decode
	// what the supervisor sends it.
	_ "github.com/containerd/containerd/api/types/runc/options"

	// Running tasks: the shim manager and the service over it.
	_ "github.com/containerd/containerd/v2/core/runtime/v2"
	_ "github.com/containerd/containerd/v2/plugins/services/tasks"

	// What containers and tasks are recorded in. The metadata database does
	// not load without a content store and a snapshotter; native is the
	// smallest. Neither ever holds anything to be collected, and a task's root
	// is never one that has to be mounted: no garbage collector, no mount
	// manager. The latter's templates would also keep the linker from leaving
	// out methods that nobody calls, a third of the program.
	_ "github.com/containerd/containerd/v2/plugins/content/local/plugin"
	_ "github.com/containerd/containerd/v2/plugins/leases"
	_ "github.com/containerd/containerd/v2/plugins/metadata"
	_ "github.com/containerd/containerd/v2/plugins/services/containers"
	_ "github.com/containerd/containerd/v2/plugins/services/leases"
	_ "github.com/containerd/containerd/v2/plugins/services/namespaces"
	_ "github.com/containerd/containerd/v2/plugins/snapshots/native/plugin"

	// How it is asked and what it tells; api.go has the rest.
	_ "github.com/containerd/containerd/v2/plugins/events"
	_ "github.com/containerd/containerd/v2/plugins/server/ttrpc"
	_ "github.com/containerd/containerd/v2/plugins/services/events"
	_ "github.com/containerd/containerd/v2/plugins/services/introspection"
	_ "github.com/containerd/containerd/v2/plugins/services/version"
	_ "github.com/containerd/containerd/v2/plugins/services/warning"
)
