// Package daemon is containerd with only the plugins that a task needs whose root
// filesystem is a plain directory: no images, registries, CRI, NRI, sandboxes or
// streaming. It takes the flags and the config.toml of upstream's containerd(8), and
// none of its subcommands.
//
// An image that wants more brings its own /usr/bin/containerd: the supervisor
// speaks upstream's API and does not care which of the two answers.
package daemon
