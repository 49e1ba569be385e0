// Command testapp runs in the containers of the VM tests: a static program with a
// subcommand for each behaviour that a test needs (testapp help lists them). As PID 1 it is
// the small guest of the tests of the harness; testapp.do= on the kernel command line
// selects what it does.
//
// Marks are written to /dev/kmsg as "keelson-test: TEXT", so that they have the kernel's
// time stamp and show on every console.
//
// Sources: Linux Documentation/ABI/testing/dev-kmsg, signal(7), reboot(2),
// clone(2), finit_module(2), input(7) events of include/uapi/linux/input.h.
package main
