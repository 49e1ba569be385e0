// Package daemon is containerd with only the plugins that are needed for a task whose
// root file system is a plain folder: no images, registries, CRI, NRI, sandboxes or
// streaming. It takes the flags and the config.toml of upstream's containerd(8), but
// none of its subcommands.
//
// An image that needs more brings its own /usr/bin/containerd. The supervisor uses
// upstream's API and works with both.
package daemon
