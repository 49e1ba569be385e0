package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// guest is PID 1 in the tests of the harness.
func guest() error {
	for dir, fstype := range map[string]string{"/proc": "proc", "/sys": "sysfs", "/dev": "devtmpfs"} {
		_ = os.MkdirAll(dir, 0o755)
		if err := syscall.Mount(fstype, dir, fstype, 0, ""); err != nil && err != syscall.EBUSY {
			return fmt.Errorf("cannot mount %s: %w", dir, err)
		}
	}
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	do := ""
	for word := range strings.FieldsSeq(string(cmdline)) {
		if v, ok := strings.CutPrefix(word, "testapp.do="); ok {
			do = v
		}
	}
	say("kernel", "")
	return act(do)
}

// act behaves as one kind of guest.
func act(do string) error {
	switch do {
	case "panic":
		return fmt.Errorf("asked to end, which is a kernel panic")
	case "hang":
		time.Sleep(time.Hour)
	case "degraded":
		say("service broken", "failed: asked to")
		say("degraded", "1 of 2 services running; failed: broken")
		time.Sleep(time.Hour)
	case "fatal":
		say("fatal", "asked to")
		time.Sleep(time.Hour)
	case "poweroff":
		return syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
	case "reboot":
		return syscall.Reboot(syscall.LINUX_REBOOT_CMD_RESTART)
	case "halt":
		return syscall.Reboot(syscall.LINUX_REBOOT_CMD_HALT)
	case "deaf": // ready, without a power button
		say("ready", "1 services running")
		time.Sleep(time.Hour)
	}
	return ready(do)
}

// ready starts the agent and powers off when the power button is pressed.
func ready(do string) error {
	for _, m := range []string{"virtio_pci", "virtio_mmio", "virtio_console", "button", "evdev", "virtio_input"} {
		if err := modprobe(m); err != nil {
			fmt.Println("testapp:", err)
		}
	}
	if do != "noagent" {
		cmd := exec.Command("/usr/bin/agent")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Start(); err != nil {
			return err
		}
	}
	pressed, err := powerKey()
	if err != nil {
		return err
	}
	fmt.Println("testapp: waiting for the power button")
	if do != "unready" {
		say("service agent", "running")
		say("ready", "1 services running")
	}
	select {
	case <-pressed:
	case <-time.After(24 * time.Hour): // Without it, Go may report a deadlock.
	}
	return syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
}

// say prints a boot event in the format of /init.
func say(stage, result string) {
	var up syscall.Sysinfo_t
	_ = syscall.Sysinfo(&up)
	if result != "" {
		result = ": " + result
	}
	fmt.Printf("keelson: [%8.3f] %s%s\n", float64(up.Uptime), stage, result)
}

// powerKey reads struct input_event from every input device. The channel receives when the
// power key is pressed.
func powerKey() (<-chan struct{}, error) {
	devices, err := filepath.Glob("/dev/input/event*")
	if err != nil {
		return nil, err
	}
	pressed := make(chan struct{}, 1)
	for _, path := range devices {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		go readKeys(f, pressed)
	}
	return pressed, nil
}

func readKeys(f *os.File, pressed chan<- struct{}) {
	const evKey, keyPower = 1, 116
	event := make([]byte, 24)
	for {
		if n, err := f.Read(event); err != nil || n != len(event) {
			return
		}
		if binary.NativeEndian.Uint16(event[16:]) == evKey && binary.NativeEndian.Uint16(event[18:]) == keyPower {
			pressed <- struct{}{}
			return
		}
	}
}
