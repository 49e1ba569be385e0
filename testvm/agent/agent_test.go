package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
	"testing"
	"time"

	"keelson/testvm/tier"
)

func TestParseStatus(t *testing.T) {
	got := parseStatus("Name:\tredis-server\nState:\tS (sleeping)\nPid:\t12\nPPid:\t1\nVmRSS:\t    2048 kB\nRssAnon:\t     512 kB\nbroken\n")
	if got.Name != "redis-server" || got.State != "S" || got.PPID != 1 || got.RSS != 2<<20 || got.Anon != 512<<10 {
		t.Errorf("got %+v", got)
	}
}

func FuzzParseStatus(f *testing.F) {
	f.Add("Name:\tinit\nState:\tZ (zombie)\nPPid:\t0\nVmRSS:\t1 kB\n")
	f.Fuzz(func(t *testing.T, s string) {
		p := parseStatus(s)
		text := fmt.Sprintf("Name:\t%s\nState:\t%s (x)\nPPid:\t%d\nVmRSS:\t%d kB\nRssAnon:\t%d kB\n", p.Name, p.State, p.PPID, p.RSS>>10, p.Anon>>10)
		if again := parseStatus(text); !reflect.DeepEqual(again, p) {
			t.Errorf("%+v is read again as %+v", p, again)
		}
	})
}

// A call without an answer ends with its context.
func TestSilentGuest(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	go func() { _, _ = theirs.Read(make([]byte, 4096)) }()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := NewClient(ours).Ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// A server that is stopped still answers the calls in progress.
func TestAnswerWhileStopping(t *testing.T) {
	tier.Root(t)
	ours, theirs := net.Pipe()
	ctx, end := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, theirs, "/proc/self/ns/mnt") }()
	file := t.TempDir() + "/begun"
	answered := make(chan error, 1)
	go func() {
		r, err := NewClient(ours).Exec(t.Context(), ExecArgs{Args: []string{"sh", "-c", "mkfifo $0; echo > $0; cat $0", file}})
		if err == nil && r.Stdout != "go on\n" {
			err = errors.New(r.Stdout + r.Stderr)
		}
		answered <- err
	}()
	for {
		if _, err := os.ReadFile(file); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	end()
	if err := os.WriteFile(file, []byte("go on\n"), 0); err != nil {
		t.Error(err)
	}
	if err := errors.Join(<-answered, <-served); err != nil {
		t.Error(err)
	}
}

// The calls work in the host's mount namespace.
func TestCalls(t *testing.T) {
	tier.Root(t) // setns(2) needs CAP_SYS_ADMIN even for the own namespace.
	ours, theirs := net.Pipe()
	go func() { _ = Serve(t.Context(), theirs, "/proc/self/ns/mnt") }()
	c, ctx := NewClient(ours), t.Context()
	r, err := c.Exec(ctx, ExecArgs{Args: []string{"sh", "-c", "cat; echo err >&2; exit 3"}, Stdin: []byte("in")})
	if err != nil || r != (ExecResult{Code: 3, Stdout: "in", Stderr: "err\n"}) {
		t.Errorf("got %+v, %v", r, err)
	}
	file := t.TempDir() + "/sub/file"
	if err := c.WriteFile(ctx, file, []byte("x"), 0o600); err != nil {
		t.Error(err)
	}
	if data, err := c.ReadFile(ctx, file); err != nil || string(data) != "x" {
		t.Errorf("got %q, %v", data, err)
	}
	if names, err := c.ReadDir(ctx, file+"/.."); err == nil {
		t.Errorf("ReadDir of a file: %v", names)
	}
	list, err := c.Processes(ctx)
	if err != nil {
		t.Error(err)
	}
	for _, p := range list {
		if p.PID == os.Getpid() && p.RSS > 0 && p.PPID == os.Getppid() {
			return
		}
	}
	t.Errorf("this process is not among the %d processes", len(list))
}
