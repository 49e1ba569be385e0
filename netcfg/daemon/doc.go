// Package daemon keeps the network as a configuration (package config) wants it: the network
// service. After each change of links, addresses, routes or leases it makes a plan and carries
// it out; a link that appears late, or again, is configured then.
//
// It also says which links ask a DHCP client for a lease (package lease), writes resolv.conf and
// hosts, takes the host name of a lease if the machine has none of its own, reports to the
// journal of events, and answers for plans on a Unix socket.
//
// What it has made is recorded in a file before it is made, so that the next one knows it. The
// end of the service changes nothing of the network.
package daemon
