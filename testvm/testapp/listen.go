package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// listen serves the sockets that it gets by the protocol of sd_listen_fds(3): it sends TEXT
// to each client, and names and number of the sockets to standard output. It reports by
// sd_notify(3) that it is ready, if there is a socket for that. On SIGTERM it answers the
// clients that it has accepted, and exits.
func listen(args []string) error {
	listeners, err := inherited()
	if err != nil {
		return err
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	var serving sync.WaitGroup
	for _, l := range listeners {
		serving.Go(func() { answerAll(l, arg(args, 0)) })
	}
	fmt.Printf("serving %d sockets: %s\n", len(listeners), os.Getenv("LISTEN_FDNAMES"))
	if os.Getenv("NOTIFY_SOCKET") != "" {
		if err := notify([]string{"READY=1"}); err != nil {
			return err
		}
	}
	<-term
	for _, l := range listeners {
		_ = l.Close()
	}
	serving.Wait()
	return nil
}

// ask connects to an address all the time, one connection after the other, until a file exists. It
// prints how often each text was received, and what went wrong otherwise: a connection that was
// refused, or that was closed without a text.
func ask(args []string) error {
	counts := map[string]int{}
	var longest time.Duration
	for end := false; !end; {
		_, err := os.Stat(arg(args, 1))
		end = err == nil // One more connection follows.
		begun := time.Now()
		counts[answerOf(arg(args, 0))]++
		longest = max(longest, time.Since(begun))
		time.Sleep(5 * time.Millisecond) // Leave time for what is asked.
	}
	for _, text := range slices.Sorted(maps.Keys(counts)) {
		fmt.Printf("%d %s\n", counts[text], text)
	}
	fmt.Fprintln(os.Stderr, "the longest connection took", longest.Round(time.Millisecond))
	return nil
}

// answerOf returns the text that a connection receives, or the error.
func answerOf(address string) string {
	c, err := net.DialTimeout("tcp", address, time.Minute)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Minute))
	text, err := io.ReadAll(c)
	if err != nil {
		return err.Error()
	}
	if len(text) == 0 {
		return "closed without a text"
	}
	return strings.TrimSpace(string(text))
}

// inherited returns the sockets that this process has inherited.
func inherited() (listeners []net.Listener, err error) {
	n, _ := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) || n == 0 {
		return nil, errors.New("this process gets no sockets")
	}
	if names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":"); len(names) != n {
		return nil, fmt.Errorf("%d sockets have %d names", n, len(names))
	}
	for i := range n {
		l, err := net.FileListener(os.NewFile(uintptr(3+i), "socket"))
		if err != nil {
			return nil, err
		}
		if u, ok := l.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false)
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

func answerAll(l net.Listener, text string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		fmt.Fprintln(c, text)
		_ = c.Close()
	}
}
