package dhcp

// State is a state of the client of one link.
type State string

// States, with the names of RFC 2131, figure 5. Probing is that of RFC 5227.
const (
	Rebooting  State = "rebooting"  // asks for the lease that it had
	Selecting  State = "selecting"  // asks for offers
	Requesting State = "requesting" // asks for what was offered
	Probing    State = "probing"    // looks whether another machine has the address
	Declining  State = "declining"  // tells the server that one has, and waits
	Bound      State = "bound"      // has a lease
	Renewing   State = "renewing"   // asks its server for more time
	Rebinding  State = "rebinding"  // asks any server for more time
)

// Event is what ends a state.
type Event string

// Events.
const (
	Offered  Event = "offer"
	Acked    Event = "ack"
	Nacked   Event = "nak"
	TimedOut Event = "no answer"
	Free     Event = "free"
	Conflict Event = "conflict"
	Waited   Event = "waited"
	T1       Event = "T1"
	T2       Event = "T2"
	Expired  Event = "expired"
)

// Table has the next state of each state and event. Without a carrier, a client waits outside
// of it, and begins in Rebooting if it has a lease, else in Selecting.
var Table = map[State]map[Event]State{
	Rebooting:  {Acked: Probing, Nacked: Selecting, TimedOut: Selecting},
	Selecting:  {Offered: Requesting, Acked: Probing, Nacked: Selecting},
	Requesting: {Acked: Probing, Nacked: Selecting, TimedOut: Selecting},
	Probing:    {Free: Bound, Conflict: Declining},
	Declining:  {Waited: Selecting},
	Bound:      {T1: Renewing},
	Renewing:   {Acked: Bound, Nacked: Selecting, T2: Rebinding},
	Rebinding:  {Acked: Bound, Nacked: Selecting, Expired: Selecting},
}

// begins reports whether a client in a state has no lease any more, and begins anew.
func (s State) begins() bool { return s == Selecting || s == Soliciting || s == Declining }
