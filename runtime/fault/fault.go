// Package fault injects panics for tests: it marks places at which a program can be made
// to panic. In programs that are not built with the tag "faults", the calls do nothing.
//
// With the tag, a place panics when the file Path contains its name. The file is removed
// before, so that the place panics once, unless the name ends with "!". For code that
// runs before there are files, the environment variable Variable does the same.
package fault

const (
	// Path is the file with the name of the place that panics.
	Path = "/tmp/keelson-fault"
	// Variable is the environment variable with the name of the place that panics.
	Variable = "KEELSON_FAULT"
	// Spoiled is a file; if it exists, Spoil damages data.
	Spoiled = "/tmp/keelson-spoil"
	// Limit is a file; if it holds a duration, Shorten returns that one.
	Limit = "/tmp/keelson-limit"
)
