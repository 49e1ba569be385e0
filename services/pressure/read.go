package pressure

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"keelson/runtime/readfile"
)

// fileLimit is more than the kernel writes into a file of a cgroup, in bytes.
const fileLimit = 64 << 10

// readUse reads what the cgroup in a folder uses; limited is the folder with its limits.
func readUse(dir, limited string) Use {
	stat, _ := readfile.Limited(filepath.Join(dir, "memory.stat"), fileLimit) // See the doc of the package.
	parts := parseKeys(stat)
	u := Use{Used: number(dir, "memory.current"), Protected: max(number(limited, "memory.min"), number(limited, "memory.low"))}
	u.Held = max(0, u.Used-parts["active_file"]-parts["inactive_file"]) + number(dir, "memory.swap.current")
	for _, file := range []string{"memory.max", "memory.high"} {
		if n := number(limited, file); n > 0 && (u.Limit == 0 || n < u.Limit) {
			u.Limit = n
		}
	}
	text, _ := readfile.Limited(filepath.Join(dir, "memory.pressure"), fileLimit)
	u.Stalled = parseStalled(text)
	return u
}

// number reads a file with one number; 0 if it has none, as for "max".
func number(dir, file string) int64 {
	text, err := readfile.Limited(filepath.Join(dir, file), fileLimit)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// parseKeys parses lines "KEY NUMBER", whatever follows.
func parseKeys(text []byte) map[string]int64 {
	values := map[string]int64{}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 {
			if n, err := strconv.ParseInt(f[1], 10, 64); err == nil && n >= 0 {
				values[f[0]] = n
			}
		}
	}
	return values
}

// parseStalled returns avg10 of the line "full avg10=0.00 avg60=0.00 avg300=0.00 total=0"; 0 if there is none.
func parseStalled(text []byte) float64 {
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "full" {
			continue
		}
		percent, err := strconv.ParseFloat(strings.TrimPrefix(f[1], "avg10="), 64)
		if err == nil && percent >= 0 && percent <= 100 {
			return percent
		}
	}
	return 0
}

// supported reports whether root is that of a unified hierarchy, which alone counts the pressure
// of each cgroup.
func supported(root string) bool {
	_, err := os.Stat(filepath.Join(root, "cgroup.controllers"))
	return err == nil
}
