package staging

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// regular returns r if it is a regular file.
func regular(r io.Reader) *os.File {
	file, ok := r.(*os.File)
	if !ok {
		return nil
	}
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	return file
}

// followEvery is how often the progress of a child that reads a file is reported.
const followEvery = time.Second

// follow reports how far a file has been read, until the function that it returns is called. It
// asks the kernel in a way that does not wait for a read that goes on, unlike lseek(2).
func (p *reporter) follow(file *os.File) (end func()) {
	info, done := fmt.Sprintf("/proc/self/fdinfo/%d", file.Fd()), make(chan struct{})
	ticker := time.NewTicker(followEvery)
	go func() {
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
			}
			if at, ok := position(info); ok {
				p.call(at)
			}
		}
	}()
	return func() {
		ticker.Stop()
		close(done)
	}
}

// position returns the position of a descriptor: proc_pid_fdinfo(5).
func position(info string) (at int64, ok bool) {
	text, err := os.ReadFile(info)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, "pos:"); found {
			_, err := fmt.Sscan(value, &at)
			return at, err == nil
		}
	}
	return 0, false
}
