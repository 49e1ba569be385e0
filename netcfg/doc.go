// Package netcfg configures the network of a keelson system over rtnetlink:
// the loopback, the kernel's `ip=` parameter without its dynamic methods, and the
// interfaces a bundle asks for.
//
// It is no DHCP client (that is a container's work) and no firewall, and it
// keeps no state: what it sets is in the kernel. Only this package speaks
// rtnetlink.
//
// Errors name the link; they unwrap to the errno or to ErrNoLink.
//
// Sources: rtnetlink(7), network_namespaces(7), resolv.conf(5); kernel document
// admin-guide/nfs/nfsroot.rst and its net/ipv4/ipconfig.c, and
// dracut.cmdline(7), for the syntax of `ip=`.
package netcfg
