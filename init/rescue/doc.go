// Package rescue interrupts the boot and asks at the console how to continue: in a
// shell, if the image has a bundle for it, and at a small prompt of its own, which
// needs nothing of the image.
//
// It runs in the boot role, never in PID 1. It does not shut down the system itself:
// it returns an action, which the caller carries out.
//
// The terminal is /dev/console, the last console= of the command line; in userspace
// mode, it is /init's standard input, if that is a terminal. After an end of file, by
// ctrl-D or a hang-up, the terminal is opened again after a pause of 100 ms, which
// doubles up to 10 s until a line is typed. If the terminal cannot be opened, the
// answer is to wait.
//
// Sources: termios(3), tty_ioctl(4), syslog(2). For what people expect: systemd's
// emergency.service, dracut.cmdline(7) (rd.shell, rd.emergency).
package rescue
