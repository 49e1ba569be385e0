// Command testapp is the payload of the VM tests' containers: one static
// program whose subcommands each do one thing a test wants to see (testapp
// help lists them). As PID 1 it is the small guest that the tests of the
// harness itself boot, told what to do by testapp.do= on the kernel command
// line.
//
// Marks go to /dev/kmsg as "keelson-test: TEXT", so that the kernel stamps
// them and every console shows them.
//
// Sources: Linux Documentation/ABI/testing/dev-kmsg, signal(7), reboot(2),
// clone(2), finit_module(2), input(7) events of include/uapi/linux/input.h.
package main
