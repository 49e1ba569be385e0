// Package format is the table of the formats of images: the files of each format, its
// architectures, the programs that the building machine needs, and how a machine boots
// it. The builder, `keelson run`, the help texts, the documentation and the tests read
// the same table.
//
// It makes no formats (package image) and starts no machines (package qemu): it is data
// and functions without side effects.
//
// Names and suffixes are the linuxkit CLI's where it has the format (`linuxkit build
// --help`, src/cmd/linuxkit/moby/output.go). Architectures are in Go's spelling.
package format
