// Package plan compares the state that the network is to have (package config) with the one that
// it has, and says which changes lead there. It is a pure function: package kernel reads the
// state and makes the changes.
//
// What is not keelson's own is left alone: links, addresses, routes and rules that somebody
// else has made are neither changed nor removed, except for what the configuration says of
// them. Own links and addresses are known by a record of what was made ([Own]), own routes and
// rules by their protocol number ([Protocol]).
//
// A plan holds for one moment. It may leave out what is not possible yet: after its changes,
// and after each event of the kernel, the next plan has what follows. With nothing to change it
// is empty.
package plan
