package logs

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
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

// Fetch asks the daemon for the lines of the named logs, in the order in which it
// received them, at most limit bytes.
func Fetch(socket string, limit int, names ...string) ([]byte, error) {
	conn, err := net.DialTimeout("unix", socket, socketTime)
	if err != nil {
		return nil, fmt.Errorf("cannot fetch logs: %w", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(socketTime)); err != nil {
		return nil, fmt.Errorf("cannot fetch logs: %w", err)
	}
	if _, err := conn.Write([]byte{dump}); err != nil {
		return nil, fmt.Errorf("cannot fetch logs: %w", err)
	}
	text, err := pick(conn, limit, names)
	if err != nil {
		return text, fmt.Errorf("cannot fetch logs: %w", err)
	}
	return text, nil
}

// lineLimit bounds a line of a daemon's answer.
const lineLimit = 64 << 10

// pick returns the texts of the named logs in a daemon's answer.
func pick(answer io.Reader, limit int, names []string) ([]byte, error) {
	wanted := map[string]bool{}
	for _, name := range names {
		wanted[name] = true
	}
	var all []byte
	lines := bufio.NewReaderSize(answer, lineLimit)
	for {
		line, err := lines.ReadSlice('\n')
		if name, text, ok := parseLine(string(line)); ok && wanted[name] && len(all)+len(text) < limit {
			all = append(append(all, text...), '\n')
		}
		for errors.Is(err, bufio.ErrBufferFull) { // Skip the rest of the line.
			_, err = lines.ReadSlice('\n')
		}
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
	}
}

// parseLine reads `2006-01-02T15:04:05Z,name;text`, or the format of newer daemons:
// {"time":"…","source":"name","msg":"text"}.
func parseLine(line string) (name, text string, ok bool) {
	line = strings.TrimRight(line, "\r\n")
	if strings.HasPrefix(line, "{") {
		var entry struct{ Source, Msg string }
		err := json.Unmarshal([]byte(line), &entry)
		return entry.Source, entry.Msg, err == nil && entry.Source != ""
	}
	head, text, found := strings.Cut(line, ";")
	_, name, named := strings.Cut(head, ",")
	return name, text, found && named && name != ""
}
