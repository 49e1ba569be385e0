package agent

import (
	"fmt"
	"strconv"
	"strings"

	"keelson/runtime/procfs"
)

// processes returns the process table at proc, without processes that end meanwhile.
func processes(proc string) ([]Process, error) {
	pids, err := procfs.PIDs(proc)
	if err != nil {
		return nil, fmt.Errorf("cannot list processes: %w", err)
	}
	var list []Process
	for _, pid := range pids {
		status, err := procfs.ReadStatus(proc, pid)
		if err != nil {
			continue
		}
		p := parseStatus(status)
		p.PID = pid
		p.Args, _ = procfs.ReadArgs(proc, pid)
		list = append(list, p)
	}
	return list, nil
}

// parseStatus parses /proc/PID/status.
func parseStatus(status string) Process {
	p := Process{
		Name: procfs.StatusField(status, "Name"),
		RSS:  kilobytes(procfs.StatusField(status, "VmRSS")),
		Anon: kilobytes(procfs.StatusField(status, "RssAnon")),
	}
	p.State, _, _ = strings.Cut(procfs.StatusField(status, "State"), " ")
	p.PPID, _ = strconv.Atoi(procfs.StatusField(status, "PPid"))
	return p
}

// kilobytes parses "1234 kB" into bytes.
func kilobytes(value string) int64 {
	n, err := strconv.ParseInt(strings.TrimSuffix(value, " kB"), 10, 64)
	if err != nil {
		return 0
	}
	return n << 10
}
