package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/bundle"
	"keelson/testvm/nstest"
)

const soon = time.Minute

// later calls f while the test waits.
func later(f func()) (wait func()) {
	done := make(chan struct{})
	time.AfterFunc(50*time.Millisecond, func() { defer close(done); f() })
	return func() { <-done }
}

func TestNetwork(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		b := newBox(t, "it")
		p, c := new(Prober), Container{PID: b.pid}
		must(t, loopbackUp())
		l, err := net.Listen("tcp", "127.0.0.1:80") // of the host
		must(t, err)
		defer l.Close()
		own, err := os.Readlink("/proc/self/ns/net")
		must(t, err)

		err = p.Wait(t.Context(), parsed("tcp:80"), c, 100*time.Millisecond)
		if want := "tcp 127.0.0.1:80: connection refused"; !errors.Is(err, unix.ECONNREFUSED) || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("nothing listens in the container: %v", err)
		}
		late := later(func() { b.do("listen tcp 127.0.0.1:80") })
		must(t, p.Wait(t.Context(), parsed("tcp:80"), c, soon))
		late()
		b.do("listen tcp [::1]:81")
		must(t, p.Once(t.Context(), parsed("tcp:81"), c))
		must(t, p.Once(t.Context(), parsed("tcp:80"), Container{PID: os.Getpid()}))

		late = later(func() { b.do("serve 204 127.0.0.1:82") })
		must(t, p.Wait(t.Context(), parsed("http:82/health?x=y"), c, soon))
		late()
		b.do("serve 503 [::1]:83")
		err = p.Once(t.Context(), parsed("http:[::1]:83/"), c)
		if err == nil || !strings.Contains(err.Error(), "503") {
			t.Errorf("status 503: %v", err)
		}
		for _, silent := range []string{"82/slow", "80/"} {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			if err := p.Once(ctx, parsed("http:"+silent), c); !errors.Is(err, errNoAnswer) {
				t.Errorf("%s: %v", silent, err)
			}
			cancel()
		}
		// A thread may end a moment after its goroutine.
		for deadline := time.Now().Add(time.Minute); namespaces(t) != own; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("threads are in network namespaces %s, the first is in %s", namespaces(t), own)
			}
		}
		if err := p.Once(t.Context(), parsed("tcp:80"), Container{PID: 1 << 22}); err == nil {
			t.Error("no error for a process that does not exist")
		}
	})
}

// namespaces returns the network namespaces of this process's threads.
func namespaces(t *testing.T) string {
	t.Helper()
	threads, err := filepath.Glob("/proc/self/task/*/ns/net")
	must(t, err)
	seen, all := map[string]bool{}, ""
	for _, thread := range threads {
		if ns, err := os.Readlink(thread); err == nil && !seen[ns] {
			seen[ns] = true
			all += ns
		}
	}
	return all
}

func TestUnixSocket(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		b := newBox(t, "it")
		p, c := new(Prober), Container{PID: b.pid}
		defer p.Close()
		b.do("chroot %s", b.root)
		outside, err := net.Listen("unix", "/run/outside.sock")
		must(t, err)
		defer outside.Close()
		up := strings.Repeat("../", 40)
		for name, target := range map[string]string{"absolute": "/run/outside.sock", "relative": up + "run/outside.sock",
			"magic": "/proc/self/root/run/outside.sock", "folder": up + "run"} {
			must(t, os.Symlink(target, filepath.Join(b.root, name)))
		}
		probe := func(path string) bundle.Probe { return parsed("unix:" + path) }
		for _, path := range []string{"/absolute", "/relative", "/magic", "/folder/outside.sock", "/" + up + "run/outside.sock"} {
			if err := p.Once(t.Context(), probe(path), c); !errors.Is(err, unix.ENOENT) {
				t.Errorf("%s: %v", path, err)
			}
		}
		// The same link with its target in the container. The folder is made later too.
		late := later(func() { b.do("mkdir /run"); b.do("listen unix /run/outside.sock") })
		must(t, p.Wait(t.Context(), probe("/absolute"), c, soon))
		late()
		late = later(func() { b.do("mkdir /a/b/c"); b.do("listen unix /a/b/c/s") })
		must(t, p.Wait(t.Context(), probe("/a/b/c/s"), c, soon))
		late()
		b.do("datagrams /run/dgram")
		must(t, p.Once(t.Context(), probe("/run/dgram"), c))
		b.do("bind /run/deaf")
		if err := p.Wait(t.Context(), probe("/run/deaf"), c, 30*time.Millisecond); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("bound, not listening: %v", err)
		}
		late = later(func() { must(t, os.Remove(b.root+"/run/deaf")); b.do("listen unix /run/deaf") })
		must(t, p.Wait(t.Context(), probe("/run/deaf"), c, soon))
		late()
		if n := watched(&p.watches); n != 0 {
			t.Errorf("%d watches are left", n)
		}
	})
}

func TestNotify(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		b := newBox(t, "it")
		if _, err := Listen(notifyAt, b.pid, "", nil); !errors.Is(err, unix.ENOENT) {
			t.Errorf("without a folder: %v", err)
		}
		b.do("tmpfs %s", filepath.Dir(notifyAt))
		n, err := Listen(notifyAt, b.pid, "", nil)
		must(t, err)
		if _, err := os.Lstat(notifyAt); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket outside of the container: %v", err)
		}
		if _, err := Listen("/etc/notify", b.pid, "", nil); err == nil {
			t.Error("a folder that is not a tmpfs is used")
		}
		news, ended := make(chan State, 10), make(chan error, 1)
		reported := make(chan string, 10)
		n.Report = func(text string) { reported <- text }
		ctx, cancel := context.WithCancel(t.Context())
		go func() { ended <- n.Serve(ctx, func(s State) { news <- s }) }()

		// Sent through the container's root, but not by a process of the container.
		forged := &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/%d/root%s", b.pid, notifyAt)}
		sender, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		must(t, err)
		must(t, unix.Sendto(sender, []byte("READY=1\nSTATUS=forged"), 0, forged))
		must(t, unix.Close(sender))
		b.do("notify STATUS=starting|WATCHDOG_USEC=60000000")
		if s := <-news; s.Ready || s.Status != "starting" || s.Watchdog != time.Minute {
			t.Errorf("%+v", s)
		}
		b.do("notify %s", "X_KEELSON_EVENT=eth0 \x1bis up")
		if text := <-reported; text != "eth0 is up" {
			t.Errorf("reported: %q", text)
		}
		late := later(func() { b.do("notify READY=1") })
		must(t, new(Prober).Wait(t.Context(), bundle.Probe{Kind: "notify"}, Container{PID: b.pid, Notify: n}, soon))
		late()
		if s := <-news; !s.Ready {
			t.Errorf("%+v", s)
		}
		open := descriptors(t)
		for range 50 {
			b.do("notify WATCHDOG=1")
			b.do("barrier")
		}
		for deadline := time.Now().Add(time.Minute); descriptors(t) > open; time.Sleep(time.Millisecond) { // The one of the last message may still be open.
			if time.Now().After(deadline) {
				t.Fatalf("%d descriptors are open, %d were", descriptors(t), open)
			}
		}
		b.do("notify %s", "STATUS="+strings.Repeat("x", largestMessage))
		b.do("notify STOPPING=1")
		if s := <-news; !s.Stopping || s.Status != "starting" {
			t.Errorf("%+v", s)
		}
		cancel()
		must(t, <-ended)
		next, err := Listen(notifyAt, b.pid, "", nil) // as the next supervisor does
		must(t, err)
		go func() { ended <- next.Serve(t.Context(), func(s State) { news <- s }) }()
		b.do("notify STATUS=again")
		if s := <-news; s.Status != "again" {
			t.Errorf("%+v", s)
		}
		must(t, next.Close())
		must(t, <-ended)
	})
}

// If the supervisor dies, the next one that has the socket gets the message that was being
// handled and those sent meanwhile, knows what was reported before, and observes the watchdog.
func TestNotifyResumed(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		b := newBox(t, "it")
		b.do("tmpfs %s", filepath.Dir(notifyAt))
		n, err := Listen(notifyAt, b.pid, "", nil)
		must(t, err)
		fd, err := unix.FcntlInt(n.Socket().Fd(), unix.F_DUPFD_CLOEXEC, 0) // as the store has it
		must(t, err)
		handling, die, ended := make(chan State, 10), make(chan struct{}), make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			ended <- n.Serve(ctx, func(s State) {
				handling <- s
				if s.Ready {
					<-die
				}
			})
		}()
		b.do("notify WATCHDOG_USEC=50000|STATUS=first")
		before := <-handling
		b.do("notify READY=1|STATUS=second")
		<-handling
		b.do("notify STATUS=third")
		cancel()

		next, err := Resume(os.NewFile(uintptr(fd), "notify"), before, notifyAt, b.pid, "", nil)
		must(t, err)
		news := make(chan State, 10)
		go func() { ended <- next.Serve(t.Context(), func(s State) { news <- s }) }()
		for _, want := range []string{"second", "third"} {
			if s := <-news; s.Status != want || !s.Ready || s.Watchdog != 50*time.Millisecond {
				t.Errorf("%s: %+v", want, s)
			}
		}
		c := Container{PID: b.pid, Notify: next}
		must(t, new(Prober).Wait(t.Context(), bundle.Probe{Kind: "notify"}, c, soon))
		if err := new(Prober).Watch(t.Context(), bundle.Probe{}, c, 0, 0, 1); err == nil || !strings.Contains(err.Error(), "WATCHDOG_USEC") {
			t.Errorf("the watchdog: %v", err)
		}
		must(t, next.Close())
		close(die)
		must(t, <-ended)
		must(t, <-ended)
	})
}

// A container without a private folder gets a random name. A name that is in use is
// refused.
func TestNotifyByName(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		b := newBox(t, "it")
		first, second := NotifySocket("it", ""), NotifySocket("it", "")
		if first == second || !strings.HasPrefix(first, "@keelson/it/") {
			t.Errorf("addresses %s and %s", first, second)
		}
		n, err := Listen(first, b.pid, "", nil)
		must(t, err)
		if _, err := Listen(first, b.pid, "", nil); !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("a name in use: %v", err)
		}
		must(t, n.Close())
	})
}

// Messages of a service whose cgroup lies below another's are not accepted for the other.
func TestNotifyNested(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		b := newBox(t, "nest/keelson.own")
		b.do("tmpfs %s", filepath.Dir(notifyAt))
		n, err := Listen(notifyAt, b.pid, "", []string{"/nest/other", "/nest"})
		must(t, err)
		defer func() { must(t, n.Close()) }()
		news := make(chan State, 10)
		go func() { _ = n.Serve(t.Context(), func(s State) { news <- s }) }()
		for _, group := range []string{"nest/other", "nest/other/deep", "nest/keelson.own", "nest/other", "nest/made"} {
			dir := filepath.Join("/sys/fs/cgroup", group)
			must(t, os.MkdirAll(dir, 0o755))
			must(t, os.WriteFile(filepath.Join(dir, "cgroup.procs"), fmt.Append(nil, b.pid), 0))
			b.do("notify STATUS=%s", group)
			b.do("barrier")
		}
		for _, want := range []string{"nest/keelson.own", "nest/made"} {
			if s := <-news; s.Status != want {
				t.Errorf("message of %s, want %s", s.Status, want)
			}
		}
	})
}

// A process that moves itself to a cgroup below its own is followed by the next supervisor as
// before.
func TestNotifyMoved(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		t.Cleanup(func() { // after the process has ended
			for _, group := range []string{"init", "work", ""} {
				_ = os.Remove(filepath.Join("/sys/fs/cgroup/keelson-test-moved", group))
			}
		})
		b := newBox(t, "keelson-test-moved/init")
		b.do("tmpfs %s", filepath.Dir(notifyAt))
		n, err := Listen(notifyAt, b.pid, "/keelson-test-moved", nil)
		must(t, err)
		defer func() { must(t, n.Close()) }()
		news := make(chan State, 10)
		go func() { _ = n.Serve(t.Context(), func(s State) { news <- s }) }()
		dir := "/sys/fs/cgroup/keelson-test-moved/work"
		must(t, os.MkdirAll(dir, 0o755))
		must(t, os.WriteFile(filepath.Join(dir, "cgroup.procs"), fmt.Append(nil, b.pid), 0))
		b.do("notify STATUS=works")
		b.do("barrier")
		select {
		case s := <-news:
			if s.Status != "works" {
				t.Errorf("message %q", s.Status)
			}
		default:
			t.Error("the message of a moved process was refused")
		}
	})
}

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(all)
}

// BenchmarkWaiting measures the processor time that 100 waiting services use in a second.
func BenchmarkWaiting(b *testing.B) {
	for _, probe := range []bundle.Probe{parsed("tcp:80"), parsed("http:80/"), parsed("unix:/run/nothing"), parsed("log:nothing"), parsed("notify")} {
		b.Run(probe.Kind, func(b *testing.B) { benchmarkWaiting(b, probe) })
	}
}

func benchmarkWaiting(b *testing.B, probe bundle.Probe) {
	if os.Getuid() != 0 {
		b.Skip("root tier: needs root")
	}
	const services, settled, measured = 100, 2 * time.Second, 2 * time.Second
	pid := sleeper(b)
	path := filepath.Join(b.TempDir(), "log")
	for b.Loop() {
		var p Prober
		ctx, cancel := context.WithCancel(b.Context())
		ended := make(chan error)
		for i := range services {
			n, err := Listen(NotifySocket(fmt.Sprint("bench", i), ""), pid, "", nil)
			must(b, err)
			defer n.Close()
			go func() {
				ended <- p.Wait(ctx, probe, Container{PID: pid, Lines: p.Follow(Log{Path: path}), Notify: n}, time.Hour)
			}()
		}
		time.Sleep(settled)
		before := cpu(b)
		time.Sleep(measured)
		b.ReportMetric(float64((cpu(b)-before).Microseconds())/measured.Seconds(), "cpu-µs/s")
		cancel()
		for range services {
			<-ended
		}
		p.Close()
	}
}

func cpu(b *testing.B) time.Duration {
	var u unix.Rusage
	must(b, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
