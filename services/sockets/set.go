package sockets

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"keelson/runtime/bundle"
	"keelson/runtime/fdpass"
	"keelson/runtime/fdstore"
)

// Set has the sockets of all services.
type Set struct {
	logger *slog.Logger

	mu     sync.Mutex
	store  *fdstore.Store // nil: there is none
	warned bool           // that there is none
	excess int            // how many were too many for the store
	open   map[string][]socket
	notify map[string]notification // by the ID of the container
}

// NewSet returns a set with the sockets that are in the store, which may be nil.
func NewSet(store *fdstore.Store, logger *slog.Logger) *Set {
	s := &Set{logger: logger, store: store, open: map[string][]socket{}, notify: map[string]notification{}}
	if store == nil {
		return s
	}
	if err := s.load(); err != nil {
		s.logger.Error("cannot get the sockets of services from PID 1; they are opened again", "error", err)
		s.store = nil
	}
	return s
}

// stored describes a socket in the store, which has the descriptors in the same order: a
// listening socket of a service or, with PID, the notification socket of a container.
type stored struct {
	Service string // or the ID of the container
	Name    string `json:",omitempty"`
	Where   string `json:",omitempty"`
	ID      fileID `json:",omitzero"`

	PID   int             `json:",omitempty"` // first process of the container
	State json.RawMessage `json:",omitempty"` // what it has reported
}

func (s *Set) load() error {
	data, files, err := s.store.Load()
	if err != nil || data == nil {
		return err
	}
	var all []stored
	if err = json.Unmarshal(data, &all); err == nil && len(all) != len(files) {
		err = fmt.Errorf("%d sockets are described by %d entries", len(files), len(all))
	}
	if err != nil {
		fdpass.Close(files)
		return err
	}
	for i, entry := range all {
		if entry.PID != 0 {
			s.notify[entry.Service] = notification{pid: entry.PID, file: os.NewFile(uintptr(files[i]), "notify"), state: entry.State}
			continue
		}
		parsed, err := bundle.ParseListen(entry.Where)
		if err != nil || len(parsed) != 1 {
			_ = unix.Close(files[i])
			s.logger.Error("cannot take over a socket of a service", "service", entry.Service, "socket", entry.Where, "error", err)
			continue
		}
		got := newSocket(parsed[0], files[i])
		got.Name, got.id = entry.Name, entry.ID
		s.open[entry.Service] = append(s.open[entry.Service], got)
	}
	return nil
}

// save stores the sockets. If it fails, the next supervisor opens those that it misses. If
// there are too many, some are not stored, at first notification sockets.
func (s *Set) save() {
	if s.store == nil {
		if !s.warned {
			s.warned = true
			s.logger.Warn("sockets of services are lost when the supervisor dies: PID 1 does not keep them")
		}
		return
	}
	all, files := []stored{}, []int{}
	for _, service := range slices.Sorted(maps.Keys(s.open)) {
		for _, o := range s.open[service] {
			all = append(all, stored{Service: service, Name: o.Name, Where: o.Where(), ID: o.id})
			files = append(files, int(o.file.Fd()))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.notify)) {
		n := s.notify[id]
		all = append(all, stored{Service: id, PID: n.pid, State: n.state})
		files = append(files, int(n.file.Fd()))
	}
	if excess := max(0, len(all)-fdstore.MaxFiles); excess > 0 || s.excess > 0 {
		all, files = all[:len(all)-excess], files[:len(files)-excess]
		if excess > s.excess {
			s.logger.Error("too many sockets of services: some are lost when the supervisor dies", "lost", excess, "kept", fdstore.MaxFiles)
		}
		s.excess = excess
	}
	data, err := json.Marshal(all)
	if err == nil {
		err = s.store.Put(data, files)
	}
	if err != nil {
		s.logger.Error("cannot store the sockets of services with PID 1: they are lost when the supervisor dies", "error", err)
	}
}

// Open opens those of the wanted sockets that the service does not have. If one cannot be
// opened, nothing has changed.
func (s *Set) Open(service string, want []bundle.Socket) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	have := slices.Clone(s.open[service])
	var added []socket
	for _, w := range want {
		if i := index(have, w); i >= 0 {
			have[i].Name = w.Name
			continue
		}
		o, err := open(w)
		if err != nil {
			for _, a := range added {
				a.close()
			}
			return err
		}
		added = append(added, o)
	}
	if len(added) > 0 {
		s.open[service] = append(have, added...)
		s.save()
	}
	return nil
}

// Take opens the wanted sockets like Open, and returns them in that order for a process
// that is started next. Unless they are shared with another process, they block, as with
// systemd.exec(5), whatever the process before has set.
func (s *Set) Take(service string, want []bundle.Socket, shared bool) ([]*os.File, error) {
	if err := s.Open(service, want); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var files []*os.File
	for _, w := range want {
		i := index(s.open[service], w)
		if i < 0 {
			return nil, fmt.Errorf("cannot listen on %s: it has been closed", w.Where())
		}
		file := s.open[service][i].file
		if shared {
			files = append(files, file)
			continue
		}
		if err := unix.SetNonblock(int(file.Fd()), false); err != nil {
			return nil, fmt.Errorf("cannot listen on %s: %w", w.Where(), err)
		}
		files = append(files, file)
	}
	return files, nil
}

// Retain closes those sockets of a service that are not wanted.
func (s *Set) Retain(service string, want []bundle.Socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var kept, unwanted []socket
	for _, o := range s.open[service] {
		if slices.ContainsFunc(want, func(w bundle.Socket) bool { return w.Where() == o.Where() }) {
			kept = append(kept, o)
		} else {
			unwanted = append(unwanted, o)
		}
	}
	if len(unwanted) == 0 {
		return
	}
	if s.open[service] = kept; len(kept) == 0 {
		delete(s.open, service)
	}
	s.save()
	for _, o := range unwanted {
		o.close()
	}
}

// List returns the sockets of a service as the annotation has them.
func (s *Set) List(service string) (all []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.open[service] {
		all = append(all, o.Where())
	}
	return all
}

// Missing returns those of the wanted sockets that the service does not have.
func (s *Set) Missing(service string, want []bundle.Socket) (missing []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range want {
		if index(s.open[service], w) < 0 {
			missing = append(missing, w.Where())
		}
	}
	return missing
}

// Services returns the services that have sockets.
func (s *Set) Services() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.open))
}

func index(all []socket, want bundle.Socket) int {
	return slices.IndexFunc(all, func(o socket) bool { return o.Where() == want.Where() })
}
