package logs

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The sockets of a logging daemon.
const (
	ExternalSocket = "/run/linuxkit-external-logging.sock"
	QuerySocket    = "/run/memlogdq.sock"
)

// socketTime limits calls to a logging daemon: a daemon that does not answer must not
// block a container.
const socketTime = 2 * time.Second

// dump is the query for all lines so far.
const dump = 0

// External reports whether a logging daemon's socket exists at path.
func External(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().Type() == os.ModeSocket
}

// SendToDaemon sends the read end of a stream to the daemon that listens on socket. The
// caller may close the descriptor afterwards.
func SendToDaemon(socket, name string, fd int) error {
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot send log %s to the logging daemon: %w", name, err)
	}
	defer unix.Close(s)
	limit := unix.NsecToTimeval(int64(socketTime))
	if err := unix.SetsockoptTimeval(s, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit); err != nil {
		return fmt.Errorf("cannot send log %s to the logging daemon: %w", name, err)
	}
	for {
		err = unix.Sendmsg(s, []byte(name), unix.UnixRights(fd), &unix.SockaddrUnix{Name: socket}, 0)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("cannot send log %s to %s: %w", name, socket, err)
	}
	return nil
}

// Line is a line that a logging daemon has.
type Line struct {
	Time       time.Time // to the second; zero: not known
	Name, Text string
}

// Dump asks the daemon for all lines so far, in the order in which it received them. The last
// value has the error, if there is one.
func Dump(socket string) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		conn, err := net.DialTimeout("unix", socket, socketTime)
		if err != nil {
			yield(Line{}, fmt.Errorf("cannot fetch logs: %w", err))
			return
		}
		defer conn.Close()
		err = conn.SetDeadline(time.Now().Add(socketTime))
		if err == nil {
			_, err = conn.Write([]byte{dump})
		}
		if err == nil {
			err = parse(conn, func(l Line) bool { return yield(l, nil) })
		}
		if err != nil {
			yield(Line{}, fmt.Errorf("cannot fetch logs: %w", err))
		}
	}
}

// Fetch asks the daemon for the lines of the named logs, in the order in which it
// received them, at most limit bytes.
func Fetch(socket string, limit int, names ...string) (text []byte, err error) {
	for l, err := range Dump(socket) {
		if err != nil {
			return text, err
		}
		if slices.Contains(names, l.Name) && len(text)+len(l.Text) < limit {
			text = append(append(text, l.Text...), '\n')
		}
	}
	return text, nil
}

// lineLimit bounds a line of a daemon's answer.
const lineLimit = 64 << 10

// parse calls each with the lines of a daemon's answer, until it returns false.
func parse(answer io.Reader, each func(Line) bool) error {
	lines := bufio.NewReaderSize(answer, lineLimit)
	for {
		line, err := lines.ReadSlice('\n')
		if l, ok := parseLine(string(line)); ok && !each(l) {
			return nil
		}
		for errors.Is(err, bufio.ErrBufferFull) { // Skip the rest of the line.
			_, err = lines.ReadSlice('\n')
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// parseLine reads `2006-01-02T15:04:05Z,name;text`, or the format of newer daemons:
// {"time":"…","source":"name","msg":"text"}.
func parseLine(line string) (Line, bool) {
	line = strings.TrimRight(line, "\r\n")
	if strings.HasPrefix(line, "{") {
		var entry struct{ Time, Source, Msg string }
		err := json.Unmarshal([]byte(line), &entry)
		return Line{parseTime(entry.Time), entry.Source, entry.Msg}, err == nil && entry.Source != ""
	}
	head, text, found := strings.Cut(line, ";")
	at, name, named := strings.Cut(head, ",")
	return Line{parseTime(at), name, text}, found && named && name != ""
}

func parseTime(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}
	}
	return t
}
