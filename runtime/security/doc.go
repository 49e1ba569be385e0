// Package security assesses how well the bundle of a service isolates it from the machine:
// what the service may do beyond its own files and processes, why that matters, and what to
// write in the YAML instead. It reads nothing but the bundle, and changes nothing.
//
// Each finding has a weight: the score of a service that has this finding alone, from 0
// (isolated) to 10 (like root on the machine). The score of a service with several is
//
//	10 · (1 − Π (1 − weight/10))
//
// so that a single finding which gives away the machine is not averaged away, and the score
// falls whenever a finding is removed.
//
// What the programs of a service do, and files and rules of the machine that a bundle does
// not show, are not assessed. It compares no bundles: see package privilege.
//
// Sources: capabilities(7), namespaces(7), user_namespaces(7), seccomp(2), core(5), proc(5),
// cgroups(7); OCI runtime-spec, config-linux.md; Docker's default masked and read-only
// paths; systemd-analyze(1), "security".
package security
