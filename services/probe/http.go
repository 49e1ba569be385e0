package probe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"keelson/runtime/bundle"
)

// largestHead is the most that is read of a response, in bytes.
const largestHead = 64 << 10

// httpCheck succeeds when the status of the response is 2xx or 3xx.
func httpCheck(p bundle.Probe, c Container) check {
	d := &dialer{pid: c.PID}
	return check{close: d.close, once: func(ctx context.Context) error {
		return anyOf(p.Addresses, func(addr netip.AddrPort) error {
			if err := d.get(ctx, addr, p.Path); err != nil {
				return fmt.Errorf("http %s%s: %w", addr, p.Path, err)
			}
			return nil
		})
	}}
}

func (d *dialer) get(ctx context.Context, addr netip.AddrPort, path string) error {
	conn, err := d.dial(ctx, addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: keelson\r\nAccept: */*\r\nConnection: close\r\n\r\n", path, addr)
	var status string
	if err == nil {
		status, err = readStatus(conn)
	}
	switch {
	case ctx.Err() != nil:
		return errNoAnswer
	case err != nil:
		return err
	case status[0] != '2' && status[0] != '3':
		return errors.New("status " + status)
	}
	return nil
}

var errNotHTTP = errors.New("response is not HTTP/1")

// readStatus returns the status of a response, such as "404 Not Found", once the whole
// header has arrived. Interim responses (1xx) are skipped.
func readStatus(r io.Reader) (string, error) {
	lines := bufio.NewReader(io.LimitReader(r, largestHead))
	for {
		line, err := lines.ReadSlice('\n')
		if err != nil {
			return "", readError(err)
		}
		status, ok := statusLine(strings.TrimRight(string(line), "\r\n"))
		if !ok {
			return "", errNotHTTP
		}
		if err := skipHeader(lines); err != nil {
			return "", readError(err)
		}
		if status[0] != '1' {
			return status, nil
		}
	}
}

// statusLine parses "HTTP/1.x CODE REASON"; the reason may be missing. It returns the
// printable part of code and reason, since people read it.
func statusLine(line string) (status string, ok bool) {
	version, rest, _ := strings.Cut(line, " ")
	code, reason, _ := strings.Cut(rest, " ")
	n, err := strconv.ParseUint(code, 10, 16)
	if err != nil || len(code) != 3 || n < 100 || n > 599 || version != "HTTP/1.1" && version != "HTTP/1.0" {
		return "", false
	}
	return strings.TrimSpace(code + " " + printable(reason, 60)), true
}

// skipHeader reads up to the empty line. Lines may be of any length.
func skipHeader(lines *bufio.Reader) error {
	for start := true; ; {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			start = false
			continue
		}
		if err != nil {
			return err
		}
		if start && strings.TrimRight(string(line), "\r\n") == "" {
			return nil
		}
		start = true
	}
}

func readError(err error) error {
	if errors.Is(err, bufio.ErrBufferFull) {
		return errNotHTTP
	}
	if errors.Is(err, io.EOF) {
		return errors.New("response ends too early")
	}
	return err
}
