package logs

import (
	"os"
	"strconv"
	"strings"
)

// ledger is a file that says how many bytes a log misses and why, for a process
// that comes after this one: "BYTES REASON". There is none while nothing is
// missing.
type ledger struct {
	path string // empty: it is not kept
}

// read gives 0 when nothing is missing, or nobody has written that down.
func (l ledger) read() (lost int64, reason string) {
	if l.path == "" {
		return 0, ""
	}
	text, err := os.ReadFile(l.path)
	if err != nil {
		return 0, ""
	}
	number, reason, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	if lost, err = strconv.ParseInt(number, 10, 64); err != nil || lost < 0 {
		return 0, ""
	}
	return lost, reason
}

// write keeps what is missing. Where that cannot be written either, it is known
// only as long as this process lives.
func (l ledger) write(lost int64, reason string) {
	switch {
	case l.path == "":
	case lost == 0:
		_ = os.Remove(l.path)
	default:
		_ = os.WriteFile(l.path, []byte(strconv.FormatInt(lost, 10)+" "+reason+"\n"), 0o600)
	}
}
