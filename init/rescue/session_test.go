package rescue

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/init/policy"
	"keelson/runtime/oneshot"
	"keelson/runtime/timeline"
	"keelson/testvm/nstest"
)

func TestMain(m *testing.M) { os.Exit(nstest.Main(m)) }

// recorder is a console that records events.
type recorder struct {
	mu     sync.Mutex
	events []string
}

func (r *recorder) Event(e timeline.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e.Stage+": "+e.Result)
}
func (r *recorder) Raw([]byte)                  {}
func (r *recorder) Flush(context.Context) error { return nil }

// startSession starts a session on a terminal; the channel delivers its answer.
func startSession(t *testing.T, ctx context.Context, change func(*Session)) (*nstest.Terminal, <-chan policy.Action) {
	t.Helper()
	term := nstest.NewTerminal(t)
	s := &Session{Why: "onboot 001-b failed", Path: term.Path, Out: &recorder{}, Log: slog.New(slog.DiscardHandler),
		Results: func() []oneshot.Result {
			return []oneshot.Result{{Name: "000-a"}, {Name: "001-b", ExitCode: 3, Decision: "rescue (keelson.on-failure=rescue)"}}
		},
		Rest: []string{"002-c"},
	}
	if change != nil {
		change(s)
	}
	answer := make(chan policy.Action, 1)
	go func() { answer <- s.Run(ctx) }()
	return term, answer
}

func wantAnswer(t *testing.T, answer <-chan policy.Action, want policy.Action) {
	t.Helper()
	select {
	case got := <-answer:
		if got != want {
			t.Errorf("the answer is %v, want %v", got, want)
		}
	case <-time.After(time.Minute):
		t.Fatal("no answer")
	}
}

func TestAnswers(t *testing.T) {
	for typed, want := range map[string]policy.Action{
		"continue": policy.Next, "reboot": policy.Reboot, "poweroff": policy.PowerOff, "halt": policy.Halt, "  Halt ": policy.Halt,
	} {
		term, answer := startSession(t, t.Context(), nil)
		term.Until(promptText)
		term.Type(typed + "\r")
		wantAnswer(t, answer, want)
		wantTerminalReset(t, term)
	}
}

// wantTerminalReset checks that a terminal has its default settings.
func wantTerminalReset(t *testing.T, term *nstest.Terminal) {
	t.Helper()
	f, err := open(term.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	settings, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil || settings.Lflag&unix.ISIG == 0 || settings.Lflag&unix.ICANON == 0 || settings.Cc[unix.VEOL] != 0 {
		t.Errorf("the terminal is left with %+v, %v", settings, err)
	}
}

// No input other than a command that ends the prompt ends it: unknown commands, control
// characters, overlong lines, ctrl-C, ctrl-D.
func TestPromptSurvivesAnyInput(t *testing.T) {
	term, answer := startSession(t, t.Context(), nil)
	for _, tc := range []struct{ typed, want string }{
		{"help\r", "power off, in order"},
		{"list\r", "002-c"},
		{"log b\r", "001-b wrote nothing"},
		{"log c\r", "No onboot container \"c\" has run"},
		{"\r", ""},
		{"rm -rf /\r", "no such command"},
		{"exit\r", "retry, continue"},
		{"shell\r", "has no shell"},
		{"retry\r", "No container has failed"},
		{"dmesg 3\r", "\n"},
		{"half a line\x03", "^C"},
		{"\x03\x03\x03", ""},
		{"\x04", "To leave the prompt"},
		{"\x04", "To leave the prompt"},
		{"\x1a\x1c\x11\x00\x01\x02\x7f\x15\x17\xff\xfe\r", "no such command"},
		{strings.Repeat("x", 3000) + "\r", "no such command"},
		{strings.Repeat("y", 20000) + "\r", "no such command"}, // The kernel's line editor truncates it.
		{"continu\x7f\x7f\x7f\x15list\r", "002-c"},
	} {
		term.Until(promptText)
		term.Type(tc.typed)
		if tc.want != "" {
			term.Until(tc.want)
		}
	}
	term.Until(promptText)
	select {
	case a := <-answer:
		t.Fatalf("the session ended with %v", a)
	default:
	}
	term.Type("halt\r")
	wantAnswer(t, answer, policy.Halt)
}

func TestRetry(t *testing.T) {
	tries := 0
	started := make(chan struct{}, 9)
	why := make(chan error, 9)
	term, answer := startSession(t, t.Context(), func(s *Session) {
		s.Retry = func(ctx context.Context) bool {
			tries++
			started <- struct{}{}
			if tries == 1 { // The first attempt hangs.
				<-ctx.Done()
				why <- context.Cause(ctx)
				return false
			}
			return tries == 3
		}
	})
	term.Until(promptText)
	term.Type("retry\r")
	<-started
	term.Type("impatient\r\x03")
	if err := <-why; err != ErrInterrupted {
		t.Errorf("the attempt was cancelled because of %v, want %v", err, ErrInterrupted)
	}
	term.Until(promptText)
	term.Type("retry\r")
	term.Until(promptText)
	term.Type("retry\r")
	wantAnswer(t, answer, policy.Next)
	if tries != 3 {
		t.Errorf("%d attempts", tries)
	}
}

// A session ends with its context, at the prompt and on a terminal that blocks writes.
func TestEndsWithItsContext(t *testing.T) {
	for _, stop := range []string{"", "\x13"} { // ctrl-S
		ctx, cancel := context.WithCancel(t.Context())
		term, answer := startSession(t, ctx, nil)
		term.Until(promptText)
		if stop != "" {
			term.Type(stop + strings.Repeat("help\r", 100))
		}
		time.AfterFunc(100*time.Millisecond, cancel)
		wantAnswer(t, answer, policy.Wait)
	}
}

// Without a terminal, the answer is to wait.
func TestNoTerminal(t *testing.T) {
	for _, path := range []string{"/dev/null", "/nowhere", filepath.Join(t.TempDir(), "none")} {
		_, answer := startSession(t, t.Context(), func(s *Session) { s.Path = path })
		wantAnswer(t, answer, policy.Wait)
	}
}

// A terminal that was hung up is opened again. In the test, its path then links to
// another terminal, because a pseudoterminal cannot be used again.
func TestHangup(t *testing.T) {
	first, second := nstest.NewTerminal(t), nstest.NewTerminal(t)
	link := filepath.Join(t.TempDir(), "console")
	if err := os.Symlink(first.Path, link); err != nil {
		t.Fatal(err)
	}
	_, answer := startSession(t, t.Context(), func(s *Session) { s.Path = link })
	first.Until(promptText)
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(second.Path, link); err != nil {
		t.Fatal(err)
	}
	first.HangUp()
	second.Until(promptText)
	second.Type("poweroff\r")
	wantAnswer(t, answer, policy.PowerOff)
}

// The shell runs first, on a terminal with default settings. The prompt follows when
// the shell ends.
func TestShell(t *testing.T) {
	runs := 0
	term, answer := startSession(t, t.Context(), func(s *Session) {
		s.Shell = func(ctx context.Context, tty *os.File) {
			runs++
			flags, err := unix.FcntlInt(tty.Fd(), unix.F_GETFL, 0)
			settings, terr := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
			if err != nil || terr != nil || flags&unix.O_NONBLOCK != 0 || settings.Lflag&unix.ISIG == 0 || settings.Lflag&unix.ECHO == 0 {
				t.Errorf("flags %x, settings %+v, %v, %v", flags, settings, err, terr)
			}
			settings.Lflag = 0 // The shell leaves the terminal without echo and line editing.
			_ = unix.IoctlSetTermios(int(tty.Fd()), unix.TCSETS, settings)
			write(tty, "I am the shell\n")
		}
	})
	term.Until("I am the shell")
	term.Until(promptText)
	term.Type("shell\r")
	term.Until("I am the shell")
	term.Until(promptText)
	term.Type("continue\r")
	wantAnswer(t, answer, policy.Next)
	if runs != 2 {
		t.Errorf("%d shells", runs)
	}
}

func TestShellEndsWithItsTerminal(t *testing.T) {
	in := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	term, answer := startSession(t, ctx, func(s *Session) {
		s.Shell = func(ctx context.Context, _ *os.File) {
			close(in)
			<-ctx.Done()
		}
	})
	<-in
	term.HangUp()
	// The path of a pseudoterminal disappears with it, so the answer is to wait.
	wantAnswer(t, answer, policy.Wait)
}
