package fdstore

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"keelson/runtime/fdpass"
)

const (
	headerSize = 8        // the generation, little-endian
	sizeLimit  = 64 << 10 // of a message, in bytes
)

// MaxFiles is how many descriptors a store can keep.
const MaxFiles = fdpass.MaxFiles

// Store keeps the content of one Put. Its methods must not be called at the same time.
type Store struct {
	pair       *Pair
	generation uint64
}

// New returns the store of a pair.
func New(p *Pair) *Store { return &Store{pair: p} }

// message is one in the queue.
type message struct {
	generation uint64
	bytes      []byte
	files      []int
}

// Load returns the content of the last Put, also of an earlier program; nothing if there
// was none. The descriptors belong to the caller.
func (s *Store) Load() (data []byte, files []int, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("cannot read the store of descriptors: %w", err)
		}
	}()
	current, err := s.receive(unix.MSG_PEEK)
	if err != nil || current == nil {
		return nil, nil, err
	}
	for {
		err := s.send(current)
		var next *message
		if err == nil {
			next, err = s.dropUntil(current.generation)
		}
		switch {
		case err != nil:
			current.close()
			return nil, nil, err
		case next == nil:
			s.generation = current.generation
			return current.bytes[headerSize:], current.files, nil
		}
		current.close()
		current = next
	}
}

// dropUntil removes the first message, then older ones than the generation. It returns the
// message that follows if that is newer, and nil if it is the copy of the one removed.
func (s *Store) dropUntil(generation uint64) (newer *message, err error) {
	for {
		old, err := s.receive(0)
		if err != nil || old == nil {
			return nil, err
		}
		old.close()
		next, err := s.receive(unix.MSG_PEEK)
		switch {
		case err != nil || next == nil:
			return nil, err
		case next.generation > generation:
			return next, nil
		}
		next.close()
		if next.generation == generation {
			return nil, nil
		}
	}
}

// Put replaces the content. The descriptors still belong to the caller.
func (s *Store) Put(data []byte, files []int) error {
	s.generation++
	bytes := append(binary.LittleEndian.AppendUint64(nil, s.generation), data...)
	if len(bytes) > sizeLimit || len(files) > MaxFiles {
		return fmt.Errorf("cannot store descriptors: %d descriptors with %d bytes are too many", len(files), len(bytes))
	}
	if err := s.send(&message{s.generation, bytes, files}); err != nil {
		return fmt.Errorf("cannot store descriptors: %w", err)
	}
	for {
		first, err := s.receive(unix.MSG_PEEK)
		if err != nil || first == nil {
			return err
		}
		first.close()
		if first.generation >= s.generation {
			return nil
		}
		old, err := s.receive(0)
		if err != nil || old == nil {
			return err
		}
		old.close()
	}
}

func (s *Store) send(m *message) error {
	return fdpass.Send(int(s.pair[0].Fd()), m.bytes, m.files, unix.MSG_DONTWAIT)
}

// receive returns the first message; nil if there is none.
func (s *Store) receive(flags int) (*message, error) {
	data, files, err := fdpass.Receive(int(s.pair[1].Fd()), sizeLimit, flags|unix.MSG_DONTWAIT)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return nil, nil
	case err != nil:
		return nil, err
	case len(data) < headerSize:
		fdpass.Close(files)
		return nil, errors.New("a message is too short")
	}
	return &message{binary.LittleEndian.Uint64(data), data, files}, nil
}

func (m *message) close() { fdpass.Close(m.files) }
