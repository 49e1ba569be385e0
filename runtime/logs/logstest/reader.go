// Package logstest is a logging daemon that speaks LinuxKit's protocol, for tests only: it
// receives streams from a datagram socket, stores their lines in a ring and answers
// queries.
package logstest

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ringSize is how many lines are stored.
const ringSize = 5000

// Reader is a logging daemon.
type Reader struct {
	streams *net.UnixConn
	queries *net.UnixListener

	mu        sync.Mutex
	changed   *sync.Cond
	ring      []Line
	ended     map[string]int // number of streams that have ended, by name
	followers map[chan string]bool
}

// Line is one line of a log.
type Line struct {
	At         time.Time
	Name, Text string
}

func (l Line) String() string {
	return fmt.Sprintf("%s,%s;%s\n", l.At.Format(time.RFC3339), l.Name, l.Text)
}

// Start listens on both sockets until the test ends.
func Start(t testing.TB, streams, queries string) *Reader {
	t.Helper()
	s, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: streams, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	q, err := net.ListenUnix("unix", &net.UnixAddr{Name: queries, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	r := &Reader{streams: s, queries: q, ended: map[string]int{}, followers: map[chan string]bool{}}
	r.changed = sync.NewCond(&r.mu)
	go r.takeStreams()
	go r.answerQueries()
	t.Cleanup(func() {
		s.Close()
		q.Close()
		_ = os.Remove(streams)
	})
	return r
}

func (r *Reader) takeStreams() {
	name, oob := make([]byte, 512), make([]byte, 512)
	for {
		n, oobn, _, _, err := r.streams.ReadMsgUnix(name, oob)
		if err != nil {
			return
		}
		messages, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil {
			continue
		}
		for _, m := range messages {
			fds, _ := unix.ParseUnixRights(&m)
			for _, fd := range fds {
				go r.read(string(name[:n]), os.NewFile(uintptr(fd), "stream"))
			}
		}
	}
}

func (r *Reader) read(name string, f *os.File) {
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		r.add(Line{time.Now(), name, lines.Text()})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended[name]++
	r.changed.Broadcast()
}

func (r *Reader) add(l Line) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ring = append(r.ring, l)
	r.ring = r.ring[max(0, len(r.ring)-ringSize):]
	for f := range r.followers {
		select {
		case f <- l.String():
		default: // too slow
		}
	}
	r.changed.Broadcast()
}

func (r *Reader) answerQueries() {
	for {
		conn, err := r.queries.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			go r.answer(conn)
		}
	}
}

// answer answers a query: 0 dumps, 1 follows, 2 does both.
func (r *Reader) answer(conn net.Conn) {
	defer conn.Close()
	query := []byte{0}
	if _, err := conn.Read(query); err != nil {
		return
	}
	r.mu.Lock()
	var past []Line
	if query[0] != 1 {
		past = append(past, r.ring...)
	}
	var future chan string
	if query[0] != 0 {
		future = make(chan string, ringSize)
		r.followers[future] = true
	}
	r.mu.Unlock()
	for _, l := range past {
		if _, err := conn.Write([]byte(l.String())); err != nil {
			return
		}
	}
	if future == nil {
		return
	}
	for text := range future {
		if _, err := conn.Write([]byte(text)); err != nil {
			return
		}
	}
}

// Ended waits until n streams of the name have ended, and returns the text of all lines
// of that name.
func (r *Reader) Ended(t testing.TB, name string, n int) []string {
	t.Helper()
	late := time.AfterFunc(time.Minute, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ended[name] = -1 << 20
		r.changed.Broadcast()
	})
	defer late.Stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.ended[name] >= 0 && r.ended[name] < n {
		r.changed.Wait()
	}
	if r.ended[name] < 0 {
		t.Fatalf("log %s did not end %d times; lines: %v", name, n, r.ring)
	}
	var texts []string
	for _, l := range r.ring {
		if l.Name == name {
			texts = append(texts, l.Text)
		}
	}
	return texts
}
