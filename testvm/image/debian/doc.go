// Package debian makes root trees and kernels from Debian's packages without
// installing them: apt resolves and downloads, dpkg-deb unpacks, and what only
// the installation of a package needs is left out.
//
// It is not for roots that need maintainer scripts: none is run, so nothing of
// a foreign architecture is executed and no privilege is needed. mmdebstrap
// was weighed for the same work; it leaves packages out only by exact name and
// after unpacking them, always adds the Essential set, and its unprivileged
// modes need subordinate ids, while apt's resolution and a walk over the
// dependencies give smaller roots with less.
//
// apt runs with state, configuration and sources of its own below the cache
// folder. The sources are those of the host that are Debian's; everything is
// verified with Debian's archive keyring. Only the Acquire settings of the
// host, such as a proxy, are taken over.
//
// Sources: apt.conf(5), apt-get(8), sources.list(5), deb822(5), dpkg-deb(1),
// and Debian Policy chapter 7 for relations between packages.
package debian
