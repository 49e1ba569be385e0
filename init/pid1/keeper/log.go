package keeper

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Log is the log file of a program, of which the keeper shows the last line when the
// program ends.
type Log struct {
	Path string
	from int64 // size before the program was started
}

// Open opens the log for appending. A FIFO in its place does not block it.
func (l *Log) Open() (*os.File, error) {
	f, err := os.OpenFile(l.Path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|unix.O_NONBLOCK, 0o644)
	if err == nil {
		l.Mark()
	}
	return f, err
}

// Mark stores the current size of the log.
func (l *Log) Mark() {
	var st unix.Stat_t
	if unix.Stat(l.Path, &st) == nil {
		l.from = st.Size
	}
}

// tailMax is how many bytes of the log's end are read.
const tailMax = 1000

// LastLine returns ": " and the last line written since Mark, or "" if there is none.
func (l *Log) LastLine() string {
	fd, err := unix.Open(l.Path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Size <= l.from {
		return ""
	}
	text := make([]byte, tailMax)
	n, err := unix.Pread(fd, text, max(st.Size-tailMax, l.from))
	if err != nil || n <= 0 {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(text[:n])), "\n")
	return ": " + lines[len(lines)-1]
}
