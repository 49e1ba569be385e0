package trial

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// system records what a Watch does.
type system struct {
	*Watch
	path   string
	done   chan string // what was done, in order
	refuse error       // of Restore, which then leaves the file
}

func newSystem(t *testing.T, known Trial) *system {
	t.Helper()
	s := &system{path: filepath.Join(t.TempDir(), "trial"), done: make(chan string, 10)}
	down := make(chan struct{})
	t.Cleanup(func() { close(down) })
	s.Watch = New(System{
		Path: s.path, Log: slog.New(slog.DiscardHandler), ShuttingDown: down,
		Serve: func(_ string, f func()) <-chan struct{} {
			done := make(chan struct{})
			go func() {
				defer close(done)
				f()
			}()
			return done
		},
		Restore: func(_ context.Context, why string) error {
			s.done <- "restore: " + why
			if s.refuse != nil {
				return s.refuse
			}
			return os.Remove(s.path)
		},
		KillContainerd: func() { s.done <- "containerd" },
		KillSupervisor: func() { s.done <- "supervisor" },
	}, known)
	return s
}

// create makes the file of a trial.
func (s *system) create(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(s.path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// start is a start of the supervisor.
func (s *system) start() { s.Begin(s.Follow()) }

// next returns the next things that are done.
func (s *system) next(n int) string {
	var done []string
	for range n {
		done = append(done, <-s.done)
	}
	return strings.Join(done, ", ")
}

func TestWithoutTrial(t *testing.T) {
	s := newSystem(t, Trial{})
	s.start()
	s.start()
	s.Resume()
	if len(s.done) != 0 || s.Known() != (Trial{}) {
		t.Errorf("%s, %v", s.next(len(s.done)), s.Known())
	}
}

// The second start of the supervisor ends a trial, the first one does not, nor does one
// after the trial.
func TestSupervisorEnds(t *testing.T) {
	for name, refuse := range map[string]error{"restored": nil, "not restored": errors.New("no")} {
		t.Run(name, func(t *testing.T) {
			s := newSystem(t, Trial{})
			s.refuse = refuse
			s.create(t)
			s.start()
			if len(s.done) != 0 || s.Known().File == (File{}) {
				t.Fatalf("first start: %s, %v", s.next(len(s.done)), s.Known())
			}
			s.start()
			if got := s.next(2); got != "restore: the supervisor ended, containerd" {
				t.Errorf("second start: %s", got)
			}
			if _, err := os.Lstat(s.path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("file of the trial: %v", err)
			}
			s.start()
			if len(s.done) != 0 {
				t.Errorf("third start: %s", s.next(len(s.done)))
			}
		})
	}
}

// A trial whose time is over when PID 1 has re-executed itself is undone, and the
// supervisor is started again.
func TestLimit(t *testing.T) {
	s := newSystem(t, Trial{})
	s.create(t)
	s.start()
	known := s.Known()
	known.Began -= Limit
	after := newSystem(t, known)
	if err := os.Rename(s.path, after.path); err != nil {
		t.Fatal(err)
	}
	after.Resume()
	if got := after.next(3); got != "restore: the trial did not end within 1m30s, containerd, supervisor" {
		t.Error(got)
	}
}

// A second trial has a file of its own, and so a first start of its own.
func TestNextTrial(t *testing.T) {
	s := newSystem(t, Trial{})
	s.create(t)
	s.start()
	first := s.Known()
	if err := os.Rename(s.path, s.path+".old"); err != nil { // So that the inode is not used again.
		t.Fatal(err)
	}
	s.create(t)
	s.start()
	if len(s.done) != 0 || s.Known().File == first.File {
		t.Errorf("%s, %v", s.next(len(s.done)), s.Known())
	}
}

// A file system that hangs delays a start, but does not prevent it; there is one look at a
// time.
func TestHang(t *testing.T) {
	s := newSystem(t, Trial{})
	s.create(t)
	release := make(chan struct{})
	if s.onState(func() { <-release }) {
		t.Fatal("it returned")
	}
	if file := s.Follow(); file != (File{}) {
		t.Errorf("%v while the file system hangs", file)
	}
	close(release)
	var st unix.Stat_t
	if err := unix.Lstat(s.path, &st); err != nil {
		t.Fatal(err)
	}
	s.looking <- struct{}{} // The look that hung has ended.
	<-s.looking
	if file := s.Follow(); file.Ino != st.Ino {
		t.Errorf("%v after that, want inode %d", file, st.Ino)
	}
}
