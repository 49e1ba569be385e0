// Package runclog reads the log of an OCI runtime (runc's --log with --log-format json), in which
// it says why it failed.
package runclog

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"strings"
)

// LastError returns the last error after an offset in a runtime's log, which has JSON
// lines such as {"level":"error","msg":"runc run failed: …","time":"…"}; empty when
// there is none.
func LastError(path string, from int64) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return ""
	}
	last := ""
	for lines := bufio.NewScanner(io.LimitReader(f, 16<<20)); lines.Scan(); {
		var entry struct{ Level, Msg string }
		if json.Unmarshal(lines.Bytes(), &entry) == nil && isError(entry.Level) {
			last = entry.Msg
		}
	}
	return strings.TrimSpace(last)
}

func isError(level string) bool {
	return level == "error" || level == "fatal" || level == "panic"
}
