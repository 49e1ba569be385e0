// Package format is the table of everything an image can be made into: which
// files each format consists of, for which architectures, with which programs
// of the building machine, and how a machine boots it. The builder, `testvm
// run`, the help texts, the documentation and the tests read the same table.
//
// It is not for making the formats (package image) nor for starting machines
// (package qemu): it is data, and functions over it without side effects.
//
// Names and suffixes are those of the linuxkit CLI where it has the format
// (`linuxkit build --help`, src/cmd/linuxkit/moby/output.go). Architectures
// are in Go's spelling.
package format
