package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// use takes one of each resource of greedy except keys, prints whether that works while
// greedy has those in kindsFile, and sleeps.
func use([]string) error {
	err := errors.Join(
		useWatches(),
		failed("open a terminal", open("/dev/ptmx")),
		failed("make a timer", timer()),
		failed("make a file", eventFD() >= 0),
		failed("make a message queue", queue("use")),
		startNamespaces(),
	)
	result := "all works"
	if err != nil {
		result = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	fmt.Printf("while %s are taken: %s\n", currentKinds(), result)
	return sleep(nil)
}

func failed(what string, ok bool) error {
	if ok {
		return nil
	}
	return errors.New("cannot " + what)
}

func useWatches() error {
	fd, err := unix.InotifyInit1(0)
	if err == nil {
		_, err = unix.InotifyAddWatch(fd, "/", unix.IN_CREATE)
	}
	if err != nil {
		return fmt.Errorf("cannot watch: %w", err)
	}
	e, err := unix.EpollCreate1(0)
	if err == nil {
		err = unix.EpollCtl(e, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN})
	}
	if err != nil {
		return fmt.Errorf("cannot wait: %w", err)
	}
	return nil
}

// startNamespaces starts a process with threads in new namespaces.
func startNamespaces() error {
	child := exec.Command("/proc/self/exe", "help")
	one := []syscall.SysProcIDMap{{Size: 1}}
	child.SysProcAttr = &syscall.SysProcAttr{UidMappings: one, GidMappings: one, Cloneflags: syscall.CLONE_NEWUSER |
		syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWNET}
	if out, err := child.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot start a process in namespaces: %w %s", err, out)
	}
	return nil
}

// until TEXT COMMAND runs a command until it has printed a line with TEXT.
func until(args []string) error {
	if len(args) < 2 {
		return errors.New("want TEXT COMMAND")
	}
	cmd := exec.Command(args[1], args[2:]...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		fmt.Println(lines.Text())
		if strings.Contains(lines.Text(), args[0]) {
			return nil
		}
	}
	return fmt.Errorf("%s ended without %q", args[1], args[0])
}
