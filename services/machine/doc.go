// Package machine is the life of a service as a table: for a state and an event, the next
// state and the actions. It does nothing itself and knows neither processes nor time, so
// that every cell can be tested.
//
// The supervisor turns what happens into events and carries out the actions in the order
// given. The end of a process becomes Retry, Done or Fail by the restart policy of the
// service (AfterExit, AfterStartError).
//
// A service is in Waiting until containerd answers and the services that it is to be
// started after are ready.
//
// Delays are time.Duration. There are no errors: an event that has no cell for a state
// changes nothing.
package machine
