// Package cmdline reads the kernel command line: parameters in their order,
// any of them several times, with the kernel's quoting.
//
// It knows no parameter's meaning. Parsing cannot fail: every text is some
// command line.
//
// Sources: kernel document admin-guide/kernel-parameters.rst (quoting; "-" and
// "_" mean the same in names; what follows "--" is for init), bootparam(7),
// proc_cmdline(5).
package cmdline
