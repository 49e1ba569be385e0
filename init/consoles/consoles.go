// Package consoles says where the messages of PID 1 and its roles go, and which of
// them: on a machine to each console= and the kernel log, inside another system to
// standard output, from keelson.loglevel= on.
package consoles

import (
	"keelson/runtime/cmdline"
	"keelson/runtime/console"
	"keelson/runtime/userspace"
)

// Options returns the options of the console.
func Options(line cmdline.Line, env userspace.Environment) console.Options {
	o := console.Options{Devices: console.Consoles(line.Values("console")), Kmsg: true}
	if !env.Machine {
		o.Devices, o.Kmsg = []string{console.Stdout}, false
	}
	if name, ok := line.Last("keelson.loglevel"); ok {
		_ = o.Level.UnmarshalText([]byte(name)) // An unknown name leaves info.
	}
	return o
}
