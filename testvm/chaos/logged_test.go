package chaos

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// logged checks the log of the service count and returns its number of lines.
func (s system) logged() (lines int, err error) {
	old, err := s.readFile("/var/log/count.out.log.1")
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !strings.Contains(err.Error(), "no such file") { // The agent returns errors as text.
		return 0, err
	}
	text, err := s.readFile("/var/log/count.out.log")
	if err != nil {
		return 0, err
	}
	return checkLog(string(old) + string(text))
}

// missing is the line that replaces output in the log that a full disk could not take.
var missing = regexp.MustCompile(`^keelson: ([0-9]+) bytes of output are missing here: .+$`)

// checkLog checks that the log has "RUN 0", "RUN 1" and so on of each run of count, each
// once, except for as many bytes as it says are missing. It says so on a separate line; the
// end of the line before may be missing too.
func checkLog(text string) (lines int, err error) {
	life, next := "", 0 // the expected line
	gap, torn := -1, "" // number of missing bytes, -1: none; the piece of a line before them
	for line := range strings.Lines(text) {
		whole := strings.HasSuffix(line, "\n")
		line = strings.TrimSuffix(line, "\n")
		if m := missing.FindStringSubmatch(line); m != nil {
			n, _ := strconv.Atoi(m[1])
			gap = max(gap, 0) + n
			continue
		}
		lines++
		of, number, found := strings.Cut(line, " ")
		n, nerr := strconv.Atoi(number)
		switch {
		case gap >= 0:
			if err := checkGap(life, next, gap, torn, of, n); !found || nerr != nil || err != nil {
				return lines, fmt.Errorf("line %d, %q: %w", lines, line, errors.Join(nerr, err))
			}
			gap, torn = -1, ""
		case whole && found && nerr == nil && of == life && n == next:
		case whole && found && nerr == nil && of != life && n == 0:
		case strings.HasPrefix(fmt.Sprintf("%s %d", life, next), line): // The rest is missing or not yet written.
			torn = line
			continue
		default:
			return lines, fmt.Errorf("line %d is %q, want %q", lines, line, fmt.Sprintf("%s %d", life, next))
		}
		if torn != "" {
			return lines, fmt.Errorf("line %d, %q, is torn", lines-1, torn)
		}
		life, next = of, n+1
	}
	return lines, nil
}

// checkGap checks that gap is the number of bytes between a piece of the line next and the
// line after the gap.
func checkGap(life string, next, gap int, torn, newLife string, number int) error {
	size := func(life string, from, to int) (bytes int) {
		for i := from; i < to; i++ {
			bytes += len(life) + len(" ") + len(strconv.Itoa(i)) + len("\n")
		}
		return bytes
	}
	if life == newLife {
		if want := size(life, next, number) - len(torn); want != gap && (torn != "" || want+len("\n") != gap) {
			return fmt.Errorf("the log says that %d bytes are missing, want %d", gap, want)
		}
		return nil
	}
	// It is unknown how many lines the run before has printed.
	if least := size(newLife, 0, number); gap < least {
		return fmt.Errorf("the log says that %d bytes are missing, want at least %d", gap, least)
	}
	return nil
}

func TestCheckLog(t *testing.T) {
	for text, good := range map[string]bool{
		"": true, "1.5 0\n1.5 1\n9.25 0\n9.25 1\n9.25 ": true,
		"1.5 0\n1.5 2\n": false, "1.5 0\n1.5 0\n": false, "1.5 0\n9.25 1\n": false, "1.5 0\n1.\n1.5 1\n": false, "1.5 0\n1.5 11.5 2\n": false,
		"1.5 0\n1.\nkeelson: 10 bytes of output are missing here: no space left on device\n1.5 3\n1.5 4\n": true,
		"1.5 0\n1.\nkeelson: 11 bytes of output are missing here: no space left on device\n1.5 3\n1.5 4\n": false,
		"1.5 0\n1.5 1\nkeelson: 7 bytes of output are missing here: x\n1.5 3\n":                            true,
		"1.5 0\n1.5 1\nkeelson: 8 bytes of output are missing here: x\n1.5 3\n":                            false,
		"1.5 0\nkeelson: 6 bytes of output are missing here: x\n9.25 0\n":                                  true,
		"1.5 0\nkeelson: 6 bytes of output are missing here: x\n9.25 1\n":                                  false,
		"1.5 0\nkeelson: 7 bytes of output are missing here: x\n9.25 1\n":                                  true,
		"keelson: 12 bytes of output are missing here: x\n1.5 2\n":                                         true,
	} {
		if _, err := checkLog(text); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestDescriptors(t *testing.T) {
	gone := errors.New("exit code 1: ls: /proc/3424/fd/66: No such file or directory")
	for _, c := range []struct {
		listed string
		err    error
		fails  bool
	}{
		{"0 -> /dev/null\n", nil, false},
		{"0 -> /dev/null\n", gone, false}, // Descriptor 66 was closed.
		{"", gone, true},                  // The process ended.
		{"0 -> /dev/null\n", errors.New("no answer"), true},
	} {
		if listed, err := descriptors(c.listed, c.err); listed != c.listed || (err != nil) != c.fails {
			t.Errorf("descriptors(%q, %v) = %q, %v", c.listed, c.err, listed, err)
		}
	}
}
