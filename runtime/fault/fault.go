// Package fault marks places at which a program can be made to panic, for tests
// that want to see what a panic costs. Programs that are not built with the tag
// "faults" have no such places: there the calls are empty.
//
// With it, a place panics when the file Path holds its name. The file goes first,
// so that it happens once, unless the name ends with "!". For what comes before
// there are files, the environment variable Variable does the same.
package fault

const (
	// Path is the file that says where.
	Path = "/tmp/keelson-fault"
	// Variable is the environment variable that does.
	Variable = "KEELSON_FAULT"
	// Spoiled is a file whose presence has Spoil spoil data.
	Spoiled = "/tmp/keelson-spoil"
)
