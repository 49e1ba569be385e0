package procfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Memory is that of the machine, in bytes (proc_meminfo(5)).
type Memory struct {
	Total     int64
	Available int64 // for programs, without swapping
}

// ReadMemory reads meminfo of the folder proc.
func ReadMemory(proc string) (Memory, error) {
	path := filepath.Join(proc, "meminfo")
	text, err := os.ReadFile(path)
	if err != nil {
		return Memory{}, fmt.Errorf("cannot find out how much memory is available: %w", err)
	}
	m, err := parseMemory(string(text))
	if err != nil {
		return Memory{}, fmt.Errorf("cannot read %s: %w", path, err)
	}
	return m, nil
}

func parseMemory(text string) (m Memory, err error) {
	want := map[string]*int64{"MemTotal": &m.Total, "MemAvailable": &m.Available}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		to, ok := want[name]
		if !ok {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
		if err != nil || kib < 0 || kib > 1<<53 {
			return Memory{}, fmt.Errorf("%s is %q", name, strings.TrimSpace(value))
		}
		*to = kib << 10
		delete(want, name)
	}
	if len(want) > 0 {
		return Memory{}, errors.New("it has no MemTotal or no MemAvailable")
	}
	return m, nil
}
