// Package policy decides what follows the end of an onboot or onshutdown
// container: the next one, another attempt, rescue, or the way down. It has no
// effects; package boot has them.
//
// What it goes by are a container's annotations (keelson.on-failure, .retries,
// .restart.delay, .restart.max-delay) and, for those that say nothing, the
// kernel command line (keelson.onboot=, keelson.rescue).
package policy
