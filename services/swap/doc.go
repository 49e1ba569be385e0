// Package swap is the replacement of a service's version as a table: for a state and an
// event, the next state and the actions. It does nothing itself, so that every cell can be
// tested; the supervisor turns what happens into events and carries out the actions.
//
// There are three tables: the old version is stopped before the new one starts (On), the
// new one starts beside the old one (OnOverlap), or the service is removed (OnRemoval).
//
// In the probation, the root of the new version may still have to be verified; a swap waits
// for that in Verifying.
//
// A swap begins when an artifact was read and accepted. It ends in Committed or Restored;
// after a power cut or the death of the supervisor, a swap that was not committed is
// undone.
package swap
