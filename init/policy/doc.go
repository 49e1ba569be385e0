// Package policy decides what follows the end of an onboot or onshutdown container: the
// next container, another attempt, rescue, or shutdown. It has no side effects; package
// boot carries the decision out.
//
// A decision depends on the container's annotations (keelson.on-failure, .retries,
// .restart.delay, .restart.max-delay) and, where these are missing, on the kernel
// command line (keelson.onboot=, keelson.rescue).
package policy
