package events

import (
	"context"
	"fmt"
	"io"
)

// batchSize is how many events a reader gets at a time, and scanSize how many it passes over
// at most until it gets a batch without events, which has its position.
const (
	batchSize = 64
	scanSize  = 256
)

// KindGap is the kind of a gap in JSON.
const KindGap Kind = "gap"

// Gap says that events between After and Next are not kept any more.
type Gap struct {
	Kind      Kind   `json:"kind"`                // KindGap
	After     ID     `json:"after"`               // the last event before
	Next      ID     `json:"next"`                // the first event after
	Missed    uint64 `json:"missed,omitempty"`    // numbers between them; 0 if that is not known
	OtherBoot bool   `json:"otherBoot,omitempty"` // After is an event of another boot
}

// String says what was missed.
func (g Gap) String() string {
	if g.OtherBoot {
		return fmt.Sprintf("the events after %s are not kept: the machine was rebooted since", g.After)
	}
	return fmt.Sprintf("the %d events between %s and %s are not kept any more", g.Missed, g.After, g.Next)
}

// Batch is what a reader gets: at first the gap, unless it is nil, then the events.
type Batch struct {
	Gap    *Gap
	Events []Event
	Last   ID // the last event that was passed over, also if the filter does not select it
}

// Cursor is a position in a journal. One goroutine may use it.
type Cursor struct {
	journal *Journal
	filter  Filter
	at      uint64 // the last number that was read
	gap     *Gap   // to be returned with the next event
	begun   bool   // at is that of an event that the reader knows
	skipped int    // events since the last batch that the filter does not select
}

// Subscribe returns a position after an event; the zero ID stands for the begin of what is kept.
func (j *Journal) Subscribe(after ID, filter Filter) *Cursor {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := &Cursor{journal: j, filter: filter}
	switch {
	case after.IsZero():
	case after.Boot != j.options.Boot:
		c.gap = &Gap{Kind: KindGap, After: after, OtherBoot: true}
	default:
		c.at, c.begun = min(after.Seq, j.last), true
	}
	return c
}

// Read returns the events after a position that are kept now, at most one batch.
func (c *Cursor) Read() Batch {
	c.journal.mu.Lock()
	defer c.journal.mu.Unlock()
	return c.read()
}

// Next waits until there are events, or a gap, and returns them. It returns an error when ctx
// ends, and io.EOF when the journal is closed and all is read.
func (c *Cursor) Next(ctx context.Context) (Batch, error) {
	for {
		batch, changed := c.readOrWait()
		switch {
		case !batch.Last.IsZero():
			return batch, nil
		case changed == nil:
			return batch, io.EOF
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Batch{}, ctx.Err()
		}
	}
}

// readOrWait returns a batch, or what is closed at the next event: nil if there will be none.
func (c *Cursor) readOrWait() (Batch, <-chan struct{}) {
	j := c.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.ring.last() > c.at {
		batch := c.read()
		if batch.Gap != nil || len(batch.Events) > 0 || c.skipped >= scanSize {
			c.skipped = 0
			return batch, nil
		}
	}
	if j.closed {
		return Batch{}, nil
	}
	if j.changed == nil {
		j.changed = make(chan struct{})
	}
	return Batch{}, j.changed
}

// read returns the next batch. The journal is locked.
func (c *Cursor) read() (b Batch) {
	r := &c.journal.ring
	for i, passed := r.after(c.at), 0; i < r.count && passed < scanSize && len(b.Events) < batchSize; i++ {
		e := r.at(i).Event
		if gap := c.gapBefore(e.ID); gap != nil {
			if passed > 0 {
				return b
			}
			b.Gap, c.gap = gap, nil
		}
		passed++
		c.at, c.begun, b.Last = e.ID.Seq, true, e.ID
		if c.filter.Match(e) {
			b.Events = append(b.Events, e)
		} else {
			c.skipped++
		}
	}
	return b
}

// gapBefore returns what the reader has missed before an event.
func (c *Cursor) gapBefore(id ID) *Gap {
	switch {
	case c.gap != nil:
		gap := *c.gap
		gap.Next = id
		return &gap
	case c.begun && id.Seq > c.at+1:
		return &Gap{Kind: KindGap, After: ID{id.Boot, c.at}, Next: id, Missed: id.Seq - c.at - 1}
	}
	return nil
}
