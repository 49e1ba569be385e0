// Package events keeps the journal of events: what happened to services, to containerd, to
// the supervisor and to the system, as numbered records for programs. The newest ones are in
// memory, where any number of readers follow them, and in a file below /run, from which the
// next supervisor continues.
//
// It is not a log of the output of services (package runtime/logs), nor the timeline of the
// boot (package runtime/timeline), whose stages become events once, see [Boot]. It knows no
// protocol: package control sends events to clients.
//
// An event has an ID: the first eight digits of the kernel's boot ID (random(4)), and a number
// that only increases within a boot. Where two events that follow each other in the journal have
// numbers that do not, those between are not kept any more, and a reader gets a [Gap].
//
// Readers keep a position in the journal, and no queue: one that is slow delays nobody, and
// gets a gap if the journal has dropped what it has not read yet. Without events nothing wakes up.
//
// Files: "events" has an event per line, in JSON. When it is full it replaces "events.old".
// "events.last" has the last number. It is overwritten in place, which needs no room, so that no
// number is used twice when /run is full. Without that file, numbers begin at the microseconds
// since the kernel started: fewer events than that have happened. A line that was cut off is
// ignored.
//
// Limits: [CountLimit] events and [BytesLimit] bytes of their JSON in memory, twice [FileLimit] bytes
// in files; texts are cut off at [TextLimit] bytes, names at [NameLimit].
package events
