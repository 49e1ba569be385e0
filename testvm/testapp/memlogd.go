package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Sockets of LinuxKit's logging daemon.
const (
	streamSocket = "/var/run/linuxkit-external-logging.sock"
	querySocket  = "/var/run/memlogdq.sock"
)

// logLine is a stored line.
type logLine struct {
	Time   time.Time `json:"time"`
	Source string    `json:"source"`
	Msg    string    `json:"msg"`
}

// memlogd stands for LinuxKit's logging daemon: it binds the sockets, starts a child that
// serves them and exits (-daemonize), stores the lines of the streams that it receives, and
// sends them to a client, which sends a byte first: 0 for the stored lines, 1 for new ones,
// 2 for both.
func memlogd(args []string) error {
	flags := flag.NewFlagSet("memlogd", flag.ContinueOnError)
	daemonize := flags.Bool("daemonize", false, "")
	passed := flags.Bool("passed", false, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *daemonize {
		return startMemlogd()
	}
	if !*passed {
		return errors.New("memlogd: want -daemonize")
	}
	streams, err := net.FilePacketConn(os.NewFile(3, "streams"))
	if err != nil {
		return err
	}
	queries, err := net.FileListener(os.NewFile(4, "queries"))
	if err != nil {
		return err
	}
	d := &logDaemon{}
	d.changed.L = &d.mu
	go d.answer(queries)
	return d.take(streams.(*net.UnixConn))
}

// startMemlogd binds the sockets and passes them to a child.
func startMemlogd() error {
	streams, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: streamSocket, Net: "unixgram"})
	if err != nil {
		return err
	}
	queries, err := net.ListenUnix("unix", &net.UnixAddr{Name: querySocket, Net: "unix"})
	if err != nil {
		return err
	}
	first, err1 := streams.File()
	second, err2 := queries.File()
	child := exec.Command(os.Args[0], "-passed")
	child.ExtraFiles = []*os.File{first, second}
	return errors.Join(err1, err2, child.Start())
}

type logDaemon struct {
	mu      sync.Mutex
	changed sync.Cond
	lines   []logLine
}

func (d *logDaemon) take(streams *net.UnixConn) error {
	name, control := make([]byte, 512), make([]byte, 512)
	for {
		n, used, _, _, err := streams.ReadMsgUnix(name, control)
		if err != nil {
			return err
		}
		messages, err := unix.ParseSocketControlMessage(control[:used])
		if err != nil {
			return err
		}
		for _, m := range messages {
			fds, _ := unix.ParseUnixRights(&m)
			for _, fd := range fds {
				go d.read(string(name[:n]), os.NewFile(uintptr(fd), "stream"))
			}
		}
	}
}

func (d *logDaemon) read(source string, f *os.File) {
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		d.mu.Lock()
		d.lines = append(d.lines, logLine{time.Now(), source, lines.Text()})
		d.mu.Unlock()
		d.changed.Broadcast()
	}
}

func (d *logDaemon) answer(queries net.Listener) {
	for {
		conn, err := queries.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			mode := make([]byte, 1)
			if _, err := conn.Read(mode); err == nil {
				d.send(json.NewEncoder(conn), mode[0])
			}
		}()
	}
}

func (d *logDaemon) send(to *json.Encoder, mode byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	at := 0
	if mode == 1 {
		at = len(d.lines)
	}
	for {
		for ; at < len(d.lines); at++ {
			line := d.lines[at]
			d.mu.Unlock()
			err := to.Encode(line)
			d.mu.Lock()
			if err != nil {
				return
			}
		}
		if mode == 0 {
			return
		}
		d.changed.Wait()
	}
}

// logwrite stands for LinuxKit's program: it writes the daemon's stored and new lines to
// /var/log/SOURCE.log. A file of more than SIZE bytes is renamed to SOURCE.log.0, that to
// SOURCE.log.1, and so on.
func logwrite(args []string) error {
	conn, err := net.Dial("unix", querySocket)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte{2}); err != nil {
		return err
	}
	var size int64
	if _, err := fmt.Sscan(arg(args, 0), &size); err != nil {
		return err
	}
	for lines := json.NewDecoder(conn); ; {
		var l logLine
		if err := lines.Decode(&l); err != nil {
			return err
		}
		if strings.HasPrefix(l.Source, "logwrite") {
			continue
		}
		if err := appendLog(l, size); err != nil {
			return err
		}
	}
}

func appendLog(l logLine, size int64) error {
	path := filepath.Join("/var/log", l.Source+".log")
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	fmt.Fprintf(f, "%s %s %s\n", l.Time.Format(time.RFC3339), l.Source, l.Msg)
	info, err := f.Stat()
	if err := errors.Join(err, f.Close()); err != nil || info.Size() <= size {
		return err
	}
	return rotateLog(path)
}

func rotateLog(path string) error {
	for i := 9; i >= 0; i-- {
		newer := fmt.Sprintf("%s.%d", path, i-1)
		if i == 0 {
			newer = path
		}
		if err := os.Rename(newer, fmt.Sprintf("%s.%d", path, i)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
