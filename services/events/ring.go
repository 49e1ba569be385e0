package events

import "sort"

// Bounds of the journal in memory: the number of events, and the bytes of their JSON.
const (
	CountLimit = 1024
	BytesLimit = 256 << 10
)

// ring has the newest events, the oldest first. It grows when it is needed.
type ring struct {
	entries []entry
	first   int // index of the oldest
	count   int
	bytes   int
}

type entry struct {
	Event
	size int // of its JSON
}

// at returns the event at a position, of which 0 is the oldest.
func (r *ring) at(i int) *entry { return &r.entries[(r.first+i)%len(r.entries)] }

// add adds the newest event, and drops old ones that have no room.
func (r *ring) add(e Event, size int) {
	for r.count > 0 && (r.count == CountLimit || r.bytes+size > BytesLimit) {
		r.drop()
	}
	if r.count == len(r.entries) {
		r.grow()
	}
	r.count++
	r.bytes += size
	*r.at(r.count - 1) = entry{e, size}
}

func (r *ring) drop() {
	oldest := r.at(0)
	r.bytes -= oldest.size
	*oldest = entry{}
	r.first = (r.first + 1) % len(r.entries)
	r.count--
}

func (r *ring) grow() {
	next := make([]entry, min(max(32, 2*r.count), CountLimit))
	for i := range r.count {
		next[i] = *r.at(i)
	}
	r.entries, r.first = next, 0
}

// after returns the position of the first event with a higher number.
func (r *ring) after(seq uint64) int {
	return sort.Search(r.count, func(i int) bool { return r.at(i).ID.Seq > seq })
}

// last returns the number of the newest event; 0 if there is none.
func (r *ring) last() uint64 {
	if r.count == 0 {
		return 0
	}
	return r.at(r.count - 1).ID.Seq
}
