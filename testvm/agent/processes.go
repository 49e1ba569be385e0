package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// processes reads the process table at proc. A process that ends meanwhile is
// left out.
func processes(proc string) ([]Process, error) {
	entries, err := os.ReadDir(proc)
	if err != nil {
		return nil, fmt.Errorf("cannot list processes: %w", err)
	}
	var list []Process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		status, err := os.ReadFile(filepath.Join(proc, e.Name(), "status"))
		if err != nil {
			continue
		}
		p := parseStatus(string(status))
		p.PID = pid
		if args, err := os.ReadFile(filepath.Join(proc, e.Name(), "cmdline")); err == nil && len(args) > 0 {
			p.Args = strings.Split(strings.TrimRight(string(args), "\x00"), "\x00")
		}
		list = append(list, p)
	}
	return list, nil
}

// parseStatus reads "Key:\tvalue" lines of proc_pid_status(5).
func parseStatus(status string) Process {
	var p Process
	for line := range strings.Lines(status) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		switch key {
		case "Name":
			p.Name = value
		case "State":
			p.State, _, _ = strings.Cut(value, " ")
		case "PPid":
			p.PPID, _ = strconv.Atoi(value)
		case "VmRSS":
			p.RSS = kilobytes(value)
		case "RssAnon":
			p.Anon = kilobytes(value)
		}
	}
	return p
}

// kilobytes reads "1234 kB" as bytes.
func kilobytes(value string) int64 {
	n, err := strconv.ParseInt(strings.TrimSuffix(value, " kB"), 10, 64)
	if err != nil {
		return 0
	}
	return n << 10
}
