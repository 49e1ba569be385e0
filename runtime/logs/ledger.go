package logs

import (
	"os"
	"strconv"
	"strings"
)

// ledger is a file with the number of bytes that are missing in a log and the reason,
// "BYTES REASON", for the process that continues after this one. While nothing is missing
// the file does not exist.
type ledger struct {
	path string // empty: nothing is stored
}

// read returns 0 when nothing is missing or the file is not valid.
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

// write stores what is missing. If that fails too, only this process knows it.
func (l ledger) write(lost int64, reason string) {
	switch {
	case l.path == "":
	case lost == 0:
		_ = os.Remove(l.path)
	default:
		_ = os.WriteFile(l.path, []byte(strconv.FormatInt(lost, 10)+" "+reason+"\n"), 0o600)
	}
}
