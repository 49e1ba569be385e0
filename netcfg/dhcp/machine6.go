package dhcp

// States of the client for IPv6 (RFC 8415 section 18.2), beside those that it shares with the one
// for IPv4: Requesting, Probing (by the kernel, RFC 4862), Declining, Bound, Renewing and Rebinding.
const (
	Soliciting State = "soliciting" // asks for offers
	Informing  State = "informing"  // asks for name servers only
	Informed   State = "informed"   // has them
)

// Refresh is the event that information is to be asked for again (RFC 8415 section 21.23).
const Refresh Event = "refresh"

// Table6 has the next state of each state and event for IPv6. A client begins in Soliciting if
// addresses or prefixes are to be had, else in Informing.
var Table6 = map[State]map[Event]State{
	Soliciting: {Offered: Requesting},
	Requesting: {Acked: Probing, Nacked: Soliciting, TimedOut: Soliciting},
	Probing:    {Free: Bound, Conflict: Declining},
	Declining:  {Waited: Soliciting},
	Bound:      {T1: Renewing},
	Renewing:   {Acked: Bound, Nacked: Soliciting, T2: Rebinding},
	Rebinding:  {Acked: Bound, Nacked: Soliciting, Expired: Soliciting},
	Informing:  {Acked: Informed},
	Informed:   {Refresh: Informing},
}
