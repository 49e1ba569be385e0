package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func exit(args []string) error {
	n, err := strconv.Atoi(arg(args, 0))
	if err != nil {
		return err
	}
	if n == 0 {
		return nil
	}
	return exitCode(n)
}

// crash kills the process by a signal that the Go runtime cannot handle.
func crash([]string) error {
	return syscall.Kill(os.Getpid(), syscall.SIGKILL)
}

func printBoth(args []string) error {
	fmt.Fprintln(os.Stdout, arg(args, 0))
	fmt.Fprintln(os.Stderr, arg(args, 1))
	return nil
}

// mark writes to the kernel log with priority "critical", which shows on a quiet console.
func mark(args []string) error {
	return os.WriteFile("/dev/kmsg", []byte("<2>keelson-test: "+strings.Join(args, " ")), 0)
}

func syncDisks([]string) error {
	syscall.Sync()
	return nil
}

func sleep(args []string) error {
	if len(args) == 0 {
		args = []string{"87600h"}
	}
	d, err := time.ParseDuration(args[0])
	if err != nil {
		return err
	}
	time.Sleep(d)
	return nil
}

// hog waits for SIGUSR1, then allocates and uses memory until it is killed.
func hog([]string) error {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1)
	fmt.Println("waiting for SIGUSR1")
	<-c
	for {
		chunk, err := syscall.Mmap(-1, 0, 1<<20, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
		if err != nil {
			return err
		}
		for i := 0; i < len(chunk); i += os.Getpagesize() {
			chunk[i] = 1
		}
	}
}

func serve(args []string) error {
	l, err := net.Listen("tcp", arg(args, 0))
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		fmt.Fprintln(c, arg(args, 1))
		_ = c.Close()
	}
}

// get does not use net/http, which would double the size of this program.
func get(args []string) error {
	c, err := net.Dial("unix", arg(args, 0))
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: keelson\r\nConnection: close\r\n\r\n", arg(args, 1)); err != nil {
		return err
	}
	_, err = io.Copy(os.Stdout, c)
	return err
}

func trap(args []string) error {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM)
	fmt.Println("waiting for SIGTERM")
	<-c
	return mark(args)
}

func stubborn([]string) error {
	signal.Ignore(syscall.SIGTERM)
	for {
		time.Sleep(time.Hour) // Go reports an empty select as a deadlock.
	}
}

func write(args []string) error {
	return os.WriteFile(arg(args, 0), []byte(arg(args, 1)+"\n"), 0o644)
}

// notify sends a message as sd_notify(3).
func notify(args []string) error {
	c, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET"))
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte(strings.Join(args, "\n")))
	return err
}

func sayReady(args []string) error {
	if err := notify([]string{"READY=1"}); err != nil {
		return err
	}
	if len(args) > 0 {
		if err := write(args); err != nil {
			return err
		}
	}
	return sleep(nil)
}
