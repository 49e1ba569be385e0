// Package config reads the configuration of the network, /etc/netcfg.yml, whose vocabulary is
// that of netplan. It knows no kernel: package plan compares a configuration with the state
// of the kernel.
//
// Reading is strict. A field that is not known, a value that cannot be, or a reference to a
// link that is not there is an error with file, line and field; all errors of a file are
// reported together.
//
// Sources: netplan's YAML reference for the names of fields, and rtnetlink(7), ip-link(8),
// ip-route(8), ip-rule(8) and wg(8) for what their values can be.
package config
