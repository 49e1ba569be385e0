// Package debian makes root trees and kernels from Debian's packages without
// installing them: apt resolves and downloads, dpkg-deb unpacks. Files that only the
// installation of a package needs are omitted.
//
// No maintainer script is run, so no program of another architecture is executed and no
// privilege is needed; roots that need such scripts are not supported. mmdebstrap was
// considered: it excludes packages only by exact name and after unpacking them, always
// adds the Essential set, and its unprivileged modes need subordinate IDs. apt's
// resolution and a walk over the dependencies give smaller roots with less code.
//
// apt runs with its own state, configuration and sources below the cache folder. The
// sources are the host's sources of Debian; everything is verified with Debian's archive
// keyring. Of the host's settings only Acquire, such as a proxy, applies.
//
// Sources: apt.conf(5), apt-get(8), sources.list(5), deb822(5), dpkg-deb(1),
// and Debian Policy chapter 7 for relations between packages.
package debian
