// Package netcfg configures the network of a keelson system over rtnetlink:
// the loopback, the kernel's `ip=` parameter without its dynamic methods, and the
// interfaces of a bundle.
//
// It is not a DHCP client, which runs in a container, and not a firewall. It keeps no
// state outside of the kernel. No other package uses rtnetlink.
//
// Errors name the link; they unwrap to the errno or to ErrNoLink.
//
// Sources: rtnetlink(7), network_namespaces(7), resolv.conf(5); kernel document
// admin-guide/nfs/nfsroot.rst and its net/ipv4/ipconfig.c, and
// dracut.cmdline(7), for the syntax of `ip=`.
package netcfg
