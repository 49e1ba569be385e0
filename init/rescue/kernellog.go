package rescue

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// logBuffer is how many bytes of the kernel log are read; syslog(2) returns the last
// ones.
const logBuffer = 256 << 10

// kernelLog returns the end of the kernel log.
func kernelLog() (string, error) {
	buffer := make([]byte, logBuffer)
	n, err := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, buffer)
	if err != nil {
		return "", fmt.Errorf("cannot read the kernel log: %w", err)
	}
	return withoutPriorities(string(buffer[:n])), nil
}

// withoutPriorities removes the "<6>" from lines such as "<6>[    1.234567] text".
func withoutPriorities(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "<"); ok {
			if _, after, ok := strings.Cut(rest, ">"); ok {
				line = after
			}
		}
		b.WriteString(line)
	}
	return b.String()
}
