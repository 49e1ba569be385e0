package vmtest

import "sync"

// Shared holds values that tests make once and share. A test waits only for the value that
// it needs, not while another is made.
type Shared[T any] struct {
	lock    sync.Mutex
	entries map[string]*entry[T]
}

type entry[T any] struct {
	lock  sync.Mutex
	made  bool
	value T
}

// Get returns the value of a key, which make returns. If make ends the test instead, the
// next test that needs the value calls its own.
func (s *Shared[T]) Get(key string, make func() T) T {
	e := s.entry(key)
	e.lock.Lock()
	defer e.lock.Unlock()
	if !e.made {
		e.value = make()
		e.made = true
	}
	return e.value
}

func (s *Shared[T]) entry(key string) *entry[T] {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.entries == nil {
		s.entries = map[string]*entry[T]{}
	}
	if s.entries[key] == nil {
		s.entries[key] = &entry[T]{}
	}
	return s.entries[key]
}
