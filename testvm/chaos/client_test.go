package chaos

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// client writes to redis over one connection until the end of the test.
type client struct {
	conn   net.Conn
	reader *bufio.Reader
	stop   chan struct{}
	done   chan struct{}

	mu    sync.Mutex
	acked int
	err   error
}

const (
	redisPort = 6379
	// patience is how long redis may take to answer.
	patience = 60 * time.Second
	// writeEvery is the time between two writes.
	writeEvery = 5 * time.Millisecond
)

func newClient(t *testing.T, s system) *client {
	t.Helper()
	conn, err := s.dial(redisPort)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c := &client{conn: conn, reader: bufio.NewReader(conn), stop: make(chan struct{}), done: make(chan struct{})}
	go c.write(writeEvery * s.slow())
	return c
}

func (c *client) write(every time.Duration) {
	defer close(c.done)
	for i := 0; ; i++ {
		select {
		case <-c.stop:
			return
		case <-time.After(every):
		}
		answer, err := c.do(fmt.Sprintf("RPUSH written %d", i))
		if err == nil && answer != ":"+strconv.Itoa(i+1) {
			err = fmt.Errorf("write %d was answered by %q", i, answer)
		}
		c.mu.Lock()
		if c.err = err; err == nil {
			c.acked++
		}
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// do sends an inline command (redis protocol specification) and returns the line of the
// answer.
func (c *client) do(command string) (string, error) {
	_ = c.conn.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintf(c.conn, "%s\r\n", command); err != nil {
		return "", fmt.Errorf("the connection to redis is lost: %w", err)
	}
	line, err := c.reader.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("the connection to redis is lost: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

func (c *client) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// end stops writing and checks that redis has every acknowledged write.
func (c *client) end() (writes int, err error) {
	close(c.stop)
	<-c.done
	if err := c.failed(); err != nil {
		return 0, err
	}
	answer, err := c.do("LRANGE written 0 -1")
	if err != nil {
		return 0, err
	}
	if n, err := strconv.Atoi(strings.TrimPrefix(answer, "*")); err != nil || n != c.acked {
		return 0, fmt.Errorf("redis has %s writes, %d were acknowledged", answer, c.acked)
	}
	for i := range c.acked {
		_, err1 := c.reader.ReadString('\n') // the length of the value
		value, err2 := c.reader.ReadString('\n')
		if err := errors.Join(err1, err2); err != nil || strings.TrimRight(value, "\r\n") != strconv.Itoa(i) {
			return 0, fmt.Errorf("write %d is %q, %v", i, value, err)
		}
	}
	return c.acked, nil
}
