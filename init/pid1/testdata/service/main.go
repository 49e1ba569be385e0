// Command service replaces the supervisor in tests of PID 1: its first run exits
// immediately, the second creates orphans and waits for SIGTERM.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "child" {
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "parent" {
		_ = exec.Command(os.Args[0], "child").Start() // Nobody waits for it.
		return
	}
	if _, err := os.Stat("/run/second"); err != nil {
		if err := os.WriteFile("/run/second", nil, 0o600); err != nil {
			fmt.Println("test service:", err)
		}
		os.Exit(7)
	}
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM)
	for range 20 {
		if err := exec.Command(os.Args[0], "parent").Run(); err != nil {
			fmt.Println("test service:", err)
		}
	}
	var files syscall.Rlimit
	_ = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files)
	stat, _ := os.Readlink("/proc/self/cwd")
	fmt.Println("test service: up, files", files.Max, "in", stat, os.Getenv("PATH"))
	<-asked
	fmt.Println("test service: stopping")
}
