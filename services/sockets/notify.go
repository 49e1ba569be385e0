package sockets

import (
	"encoding/json"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// notification is the notification socket of a container, with what the service has
// reported to it.
type notification struct {
	pid     int // first process of the container
	file    *os.File
	state   json.RawMessage
	claimed bool // this supervisor follows the container
}

// KeepNotify keeps the notification socket of a container, whose first process is pid, until
// ForgetNotify, and state, which is encoded as JSON. The socket still belongs to the caller.
func (s *Set) KeepNotify(id string, pid int, socket *os.File, state any) error {
	text, err := json.Marshal(state)
	var file *os.File
	if err == nil {
		file, err = duplicate(socket)
	}
	if err != nil {
		return fmt.Errorf("cannot keep the notification socket of %s: %w", id, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.notify[id]; known {
		s.forget(id)
	}
	s.notify[id] = notification{pid: pid, file: file, state: text, claimed: true}
	s.save()
	return nil
}

// KeepNotifyState replaces the state that is kept with a notification socket. It does nothing
// after ForgetNotify.
func (s *Set) KeepNotifyState(id string, pid int, state any) error {
	text, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("cannot keep the notifications of %s: %w", id, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n, known := s.notify[id]
	if known && n.pid == pid && string(n.state) != string(text) {
		n.state = text
		s.notify[id] = n
		s.save()
	}
	return nil
}

// Notify returns the notification socket of a container that an earlier supervisor has kept,
// and decodes its state; nil if there is none. The socket belongs to the caller.
func (s *Set) Notify(id string, pid int, state any) (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, known := s.notify[id]
	if !known || n.pid != pid {
		return nil, nil
	}
	if err := json.Unmarshal(n.state, state); err != nil {
		return nil, fmt.Errorf("cannot take over the notification socket of %s: %w", id, err)
	}
	file, err := duplicate(n.file)
	if err != nil {
		return nil, fmt.Errorf("cannot take over the notification socket of %s: %w", id, err)
	}
	n.claimed = true
	s.notify[id] = n
	return file, nil
}

// ForgetNotify closes the notification socket of a container that has ended.
func (s *Set) ForgetNotify(id string, pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, known := s.notify[id]; known && n.pid == pid {
		s.forget(id)
		s.save()
	}
}

// ForgetUnclaimed closes the notification sockets of an earlier supervisor that have not been
// taken over: their containers have ended.
func (s *Set) ForgetUnclaimed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := false
	for id, n := range s.notify {
		if !n.claimed {
			s.forget(id)
			found = true
		}
	}
	if found {
		s.save()
	}
}

func (s *Set) forget(id string) {
	_ = s.notify[id].file.Close()
	delete(s.notify, id)
}

// duplicate returns another descriptor of a socket.
func duplicate(socket *os.File) (*os.File, error) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	failed := raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	if failed != nil {
		return nil, failed
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), socket.Name()), nil
}
