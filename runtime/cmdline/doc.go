// Package cmdline reads the kernel command line: parameters in their order,
// any of them several times, with the kernel's quoting.
//
// It does not know what parameters mean. Parsing cannot fail: every text is a command
// line.
//
// Sources: kernel document admin-guide/kernel-parameters.rst (quoting; "-" and
// "_" mean the same in names; what follows "--" is for init), bootparam(7),
// proc_cmdline(5).
package cmdline
