package watchdog

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// SysDir is the folder of the watchdogs in sysfs.
const SysDir = "/sys/class/watchdog"

// bits of the status of a watchdog at boot (linux/watchdog.h).
var bits = []struct {
	bit  uint64
	text string
}{
	{0x20, "has reset the machine"}, {0x01, "overheated"}, {0x02, "fan failed"}, {0x04, "external relay 1"},
	{0x08, "external relay 2"}, {0x10, "bad power"}, {0x40, "overvoltage"},
}

// textLimit bounds the name of a watchdog, in bytes.
const textLimit = 128

// Reasons returns what the watchdogs in a folder like SysDir say of the reset before this
// boot, as NAME: REASON. Without CONFIG_WATCHDOG_SYSFS there is nothing.
func Reasons(dir string) (all []string) {
	const most = 8
	paths, _ := filepath.Glob(filepath.Join(dir, "*", "bootstatus")) // The pattern is right.
	for _, path := range paths[:min(len(paths), most)] {
		text, err := os.ReadFile(path)
		status, perr := strconv.ParseUint(strings.TrimSpace(string(text)), 0, 32)
		if err != nil || perr != nil {
			continue
		}
		name, err := os.ReadFile(filepath.Join(filepath.Dir(path), "identity"))
		if err != nil {
			name = []byte(filepath.Base(filepath.Dir(path)))
		}
		for _, b := range bits {
			if status&b.bit != 0 {
				all = append(all, strings.ToValidUTF8(strings.TrimSpace(string(name[:min(len(name), textLimit)])), "")+": "+b.text)
			}
		}
	}
	return all
}
