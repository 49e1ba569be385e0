// Package dhcp is a client of DHCP for IPv4 (RFC 2131) and IPv6 (RFC 8415): it gets leases for any
// number of links, configures their addresses, routes and MTU, and tells others of them in files
// (package lease).
//
// Each link with a carrier has a machine of states ([Table], [Table6]). An address is verified by ARP before
// it is used (RFC 5227, with fewer and earlier probes). A lease is asked for again first, after a
// reboot, a restart or the loss of the carrier. All times are of CLOCK_BOOTTIME.
//
// One loop ([client.run]) has what both protocols share: the states, how leases are kept, extended, told of and
// given up. What differs is behind the interface protocol: client4 and client6.
//
// Options: 1 (mask), 3 (routers), 6 (name servers), 12 (host name), 15 (domain), 26 (MTU), 33 and 121
// (routes), 42 (NTP), 50, 51 (lease time), 54 (server), 58, 59 (T1, T2), 61 (client identifier), 80 (Rapid Commit),
// 119 (search list).
//
// Of IPv6: addresses (IA_NA), prefixes to delegate (IA_PD), name servers, search list and NTP. Whether an
// address or only information is asked for is what routers advertise.
package dhcp
