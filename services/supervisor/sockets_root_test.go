package supervisor

import (
	"errors"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"keelson/services/control"
	"keelson/testvm/nstest"
	"keelson/testvm/tier"
)

// Sockets that are kept for service web.
const (
	keptTCP  = "tcp:127.0.0.1:8080"
	keptUnix = "unix:/run/web/web.sock"
)

// clients connect all the time, one after the other, and expect an answer.
type clients struct {
	stop chan struct{}
	done sync.WaitGroup

	mu       sync.Mutex
	answers  map[string]int // by text
	failures []string
	cut      int // connections that were closed without an answer
}

func startClients() *clients {
	c := &clients{stop: make(chan struct{}), answers: map[string]int{}}
	for network, address := range map[string]string{"tcp": "127.0.0.1:8080", "unix": "/run/web/web.sock"} {
		c.done.Go(func() {
			for {
				select {
				case <-c.stop:
					return
				default:
					c.connect(network, address)
				}
			}
		})
	}
	return c
}

func (c *clients) connect(network, address string) {
	conn, err := net.DialTimeout(network, address, time.Minute)
	var text []byte
	if err == nil {
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		text, err = io.ReadAll(conn)
		_ = conn.Close()
		if errors.Is(err, syscall.ECONNRESET) {
			err = nil // The process that served it was killed.
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch answer := strings.TrimSpace(string(text)); {
	case err != nil:
		c.failures = append(c.failures, err.Error())
	case answer == "":
		c.cut++
	default:
		c.answers[answer]++
	}
}

// until waits for answers with a text.
func (c *clients) until(s *system, text string, more int) {
	s.t.Helper()
	c.mu.Lock()
	want := c.answers[text] + more
	c.mu.Unlock()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		c.mu.Lock()
		got := c.answers[text]
		c.mu.Unlock()
		if got >= want {
			return
		}
	}
	s.fail("no answer %q: %+v, failures %q", text, c.answers, c.failures)
}

// check reports connections that failed, and those that were closed without an answer
// unless a process was killed.
func (c *clients) check(step string, s *system, killed bool) {
	s.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.failures) > 0 || !killed && c.cut > 0 {
		s.fail("%s: %d connections without an answer, failures %q", step, c.cut, c.failures)
	}
	c.cut = 0
}

// newListening makes a system in which web has kept sockets, and templates of its versions.
// All have more annotations, as keys and values.
func newListening(t *testing.T, listen string, more ...string) *system {
	t.Helper()
	testapp := buildTestapp(t)
	s := prepareSystem(t)
	tier.Tool(t, "busybox", "busybox-static")
	if out, err := exec.Command("busybox", "ifconfig", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.write(policyOf(s.dir), "services: [{name: '*', allow: [swap, add, remove, rollback], signed-by: [], gain: ['*']}]")
	annotations := map[string]string{
		"keelson.listen": listen, "keelson.ready": "notify", "keelson.restart.delay": "1s", "keelson.swap.probation": probation,
	}
	for i := 0; i < len(more); i += 2 {
		annotations[more[i]] = more[i+1]
	}
	s.add("web", "exec testapp listen image", annotations)
	s.addTestapp("web", testapp)
	template := filepath.Join(templatesOf(s.dir), "web")
	nstest.Bundle(t, template, "case VERSION in exits*) exit 3;; esac; exec testapp listen VERSION", annotations, "")
	for name, replace := range map[string]string{"one": keptUnix, "other": keptUnix + " " + keptTCP + " tcp:127.0.0.1:8081", "taken": keptUnix + " tcp:127.0.0.1:8082"} {
		annotations["keelson.listen"] = replace
		nstest.Bundle(t, filepath.Join(templatesOf(s.dir), name), "exec testapp listen VERSION", annotations, "")
	}
	dir := s.dir
	for _, name := range []string{"web", "one", "other", "taken"} {
		s.dir = templatesOf(dir)
		s.addTestapp(name, testapp)
	}
	s.dir = dir
	s.begin()
	return s
}

// swapTo swaps web to a version of a template.
func (s *system) swapTo(template, version string) error {
	return <-(&swapping{system: s}).request(control.Swap, "web", template+" "+version)
}

// A client connects all the time while the service is restarted, swapped, rolled back and
// killed, and while the supervisor is killed: each connection is answered, except those
// that a killed process had accepted.
func TestKeptSockets(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		s := newListening(t, "http="+keptTCP+" "+keptUnix)
		first := s.until("web", "running", running)
		if want := []string{keptTCP, keptUnix}; !slices.Equal(first.Sockets, want) {
			t.Errorf("sockets %v, want %v", first.Sockets, want)
		}
		s.untilLog("web.out.log", "serving 2 sockets: http:web\n")
		c := startClients()
		c.until(s, "image", 100)

		if r := s.ask(control.Restart, "web"); r.Code != 0 {
			s.fail("restart: %+v", r)
		}
		c.until(s, "image", 100)
		c.check("restart", s, false)

		if err := s.swapTo("web", "good-1"); err != nil {
			s.fail("swap: %v", err)
		}
		c.until(s, "good-1", 100)
		if err := s.swapTo("web", "exits-1"); err == nil {
			s.fail("a version that exits was swapped in")
		}
		c.until(s, "good-1", 100)
		if err := <-(&swapping{system: s}).request(control.Rollback, "web", ""); err != nil {
			s.fail("rollback: %v", err)
		}
		c.until(s, "image", 100)
		c.check("swaps", s, false)

		killed := s.until("web", "running", running).PID
		kill(t, killed)
		c.until(s, "image", 100)
		c.check("kill", s, true)

		// It may be reporting that it is ready.
		s.until("web", "started again", func(v control.Service) bool { return v.PID != 0 && v.PID != killed })
		s.killSupervisor()
		c.until(s, "image", 100)
		if got := s.until("web", "taken over", running).Sockets; len(got) != 2 {
			t.Errorf("taken over with sockets %v", got)
		}
		if r := s.ask(control.Restart, "web"); r.Code != 0 {
			s.fail("restart: %+v", r)
		}
		c.until(s, "image", 100)
		c.check("restart after a takeover", s, false)

		// Neither a process nor a supervisor runs.
		pid := s.until("web", "running", running).PID
		if err := s.supervisor.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		kill(t, pid)
		for slices.Contains(processes(t, "testapp\x00listen"), pid) {
			time.Sleep(time.Millisecond)
		}
		s.killSupervisor()
		c.until(s, "image", 100)
		c.check("both killed", s, true)

		close(c.stop)
		c.done.Wait()
		if r := s.ask(control.Stop, "web"); r.Code != 0 {
			s.fail("stop: %+v", r)
		}
		for network, address := range map[string]string{"tcp": "127.0.0.1:8080", "unix": "/run/web/web.sock"} {
			if conn, err := net.Dial(network, address); err == nil {
				_ = conn.Close()
				t.Errorf("%s accepts connections after a stop", address)
			}
		}
		s.end()
		t.Logf("answers: %v", c.answers)
	})
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// A swap may change the sockets: new ones are open before the old version stops, and those
// that the new version does not list are closed when it is committed. A swap whose sockets
// cannot be opened changes nothing.
func TestSwapOfSockets(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		s := newListening(t, keptTCP+" "+keptUnix)
		before := s.until("web", "running", running)
		taken, err := net.Listen("tcp", "127.0.0.1:8082")
		if err != nil {
			t.Fatal(err)
		}
		defer taken.Close()
		if err := s.swapTo("taken", "good-1"); err == nil || !strings.Contains(err.Error(), "cannot listen on tcp:127.0.0.1:8082: address already in use") {
			s.fail("a swap with a port that is taken: %v", err)
		}
		if now := s.until("web", "running", running); now.PID != before.PID || !slices.Equal(now.Sockets, before.Sockets) {
			t.Errorf("before %+v, after %+v", before, now)
		}
		for _, step := range []struct {
			template, version string
			want              []string
		}{
			{"other", "good-2", []string{keptTCP, keptUnix, "tcp:127.0.0.1:8081"}},
			{"one", "good-3", []string{keptUnix}},
		} {
			if err := s.swapTo(step.template, step.version); err != nil {
				s.fail("%s: %v", step.version, err)
			}
			if got := s.until("web", "running", running).Sockets; !slices.Equal(got, step.want) {
				t.Errorf("%s: sockets %v, want %v", step.version, got, step.want)
			}
			for _, address := range []string{"127.0.0.1:8080", "127.0.0.1:8081"} {
				open := slices.Contains(step.want, "tcp:"+address)
				text, err := answerOf("tcp", address)
				if open && text != step.version || !open && !errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("%s: %s answers %q, %v", step.version, address, text, err)
				}
			}
			if text, err := answerOf("unix", "/run/web/web.sock"); text != step.version {
				t.Errorf("%s: %q, %v", step.version, text, err)
			}
		}
		s.end()
	})
}

func answerOf(network, address string) (string, error) {
	conn, err := net.DialTimeout(network, address, time.Minute)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	text, err := io.ReadAll(conn)
	return strings.TrimSpace(string(text)), err
}
