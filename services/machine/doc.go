// Package machine is the life of one service as a table: in a state, on an
// event, the next state and what is to be done. It does nothing itself and
// knows neither processes nor time, so every cell can be tested.
//
// The supervisor turns what happens into events (a process that ended becomes
// Retry, Done or Fail by the service's restart policy, see AfterExit and
// AfterStartError) and carries out the actions in the order given.
//
// Waiting is where a service stays until it may start: until containerd answers
// and those it is to be started after are ready.
//
// Delays are time.Duration. There are no errors: an event that means nothing
// in a state changes nothing.
package machine
