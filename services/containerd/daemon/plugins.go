package daemon

import (
	// The options type of the runc runtime, which containerd decodes when the
	// supervisor sends it.
	_ "github.com/containerd/containerd/api/types/runc/options"

	// Running tasks: the shim manager and the service over it.
	_ "github.com/containerd/containerd/v2/core/runtime/v2"
	_ "github.com/containerd/containerd/v2/plugins/services/tasks"

	// The database of containers and tasks. It does not load without a content
	// store and a snapshotter; native is the smallest. Neither ever contains
	// garbage, and no root of a task has to be mounted: so there is neither garbage
	// collector nor mount manager. The mount manager also uses templates, with which
	// the linker cannot drop unused methods, a third of the program.
	_ "github.com/containerd/containerd/v2/plugins/content/local/plugin"
	_ "github.com/containerd/containerd/v2/plugins/leases"
	_ "github.com/containerd/containerd/v2/plugins/metadata"
	_ "github.com/containerd/containerd/v2/plugins/services/containers"
	_ "github.com/containerd/containerd/v2/plugins/services/leases"
	_ "github.com/containerd/containerd/v2/plugins/services/namespaces"
	_ "github.com/containerd/containerd/v2/plugins/snapshots/native/plugin"

	// The API and its events; api.go has the rest.
	_ "github.com/containerd/containerd/v2/plugins/events"
	_ "github.com/containerd/containerd/v2/plugins/server/ttrpc"
	_ "github.com/containerd/containerd/v2/plugins/services/events"
	_ "github.com/containerd/containerd/v2/plugins/services/introspection"
	_ "github.com/containerd/containerd/v2/plugins/services/version"
	_ "github.com/containerd/containerd/v2/plugins/services/warning"
)
