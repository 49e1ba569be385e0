// Package rescue stops the boot and asks the person at the console how it is to
// go on: in a shell, from a bundle of the image made for it, and at a small
// prompt of its own, which needs nothing of the image.
//
// It belongs into the boot role, never into PID 1. It takes nothing down
// itself: the answer is an action, which the caller has to carry out.
//
// The terminal is /dev/console, which is the last console= of the command line;
// in userspace mode it is /init's standard input, if that is a terminal. A
// terminal at its end, by ctrl-D or because the line was hung up, is opened
// again after a pause, 100 ms doubling to 10 s until somebody types something.
// One that cannot be opened is no terminal: the answer then is to wait.
//
// Sources: termios(3), tty_ioctl(4), syslog(2), systemd's emergency.service,
// dracut.cmdline(7) (rd.shell, rd.emergency) for what people expect.
package rescue
