package dhcp

// States of the client for IPv6 (RFC 8415 section 18.2), beside those that it shares with the one
// for IPv4: Rebooting, Requesting, Probing (by the kernel, RFC 4862), Declining, Bound, Renewing and
// Rebinding.
const (
	Confirming State = "confirming" // asks whether the lease of before fits the link
	Soliciting State = "soliciting" // asks for offers
	Informing  State = "informing"  // asks for name servers only
	Informed   State = "informed"   // has them
)

// Events of the client for IPv6 only.
const (
	Refresh Event = "refresh"    // information is to be asked for again (RFC 8415 section 21.23)
	Unbound Event = "no binding" // the server does not know the lease (status NoBinding)
)

// Table6 has the next state of each state and event for IPv6. A client that had a lease begins in
// Confirming if the lease is still valid, and in Rebooting after a reboot; without one in Soliciting if
// addresses or prefixes are to be had, else in Informing.
var Table6 = map[State]map[Event]State{
	Confirming: {Acked: Probing, Nacked: Soliciting, TimedOut: Probing},
	Rebooting:  {Acked: Probing, Nacked: Soliciting, TimedOut: Soliciting, Unbound: Soliciting},
	Soliciting: {Offered: Requesting, Acked: Probing},
	Requesting: {Acked: Probing, Nacked: Soliciting, TimedOut: Soliciting},
	Probing:    {Free: Bound, Conflict: Declining},
	Declining:  {Waited: Soliciting},
	Bound:      {T1: Renewing},
	Renewing:   {Acked: Bound, Nacked: Soliciting, Unbound: Requesting, T2: Rebinding},
	Rebinding:  {Acked: Bound, Nacked: Soliciting, Unbound: Requesting, Expired: Soliciting},
	Informing:  {Acked: Informed},
	Informed:   {Refresh: Informing},
}
