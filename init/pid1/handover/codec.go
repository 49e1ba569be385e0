package handover

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"syscall"
)

const (
	magic   = "keelson handover"
	version = 2

	noteAt    = len(magic)
	noteSize  = 16
	caughtAt  = noteAt + noteSize
	caughtMax = 96 // signal numbers end at 64
	headAt    = caughtAt + caughtMax
	payloadAt = headAt + 12

	fileMax = 1 << 20
	// PayloadMax is the largest payload in bytes.
	PayloadMax = fileMax - payloadAt
)

// ErrCorrupt is returned when the data is not a valid handover.
var ErrCorrupt = errors.New("cannot read the handover")

// Received is what the previous program passed.
type Received struct {
	Payload []byte
	Note    string           // written after the payload; usually empty
	Caught  []syscall.Signal // signals that arrived even later, ordered by number
}

// encode returns the part of the file after the slots. The magic is written separately.
func encode(payload []byte) ([]byte, error) {
	if len(payload) > PayloadMax {
		return nil, fmt.Errorf("cannot encode the handover: %d bytes, more than %d", len(payload), PayloadMax)
	}
	data := make([]byte, 0, len(payload)+payloadAt-headAt)
	for _, n := range []uint32{version, uint32(len(payload)), crc32.ChecksumIEEE(payload)} {
		data = binary.LittleEndian.AppendUint32(data, n)
	}
	return append(data, payload...), nil
}

// decode parses the file.
func decode(data []byte) (Received, error) {
	if len(data) < payloadAt || string(data[:noteAt]) != magic {
		return Received{}, fmt.Errorf("%w: it is too short or has another format", ErrCorrupt)
	}
	number := func(i int) uint32 { return binary.LittleEndian.Uint32(data[headAt+4*i:]) }
	payload := data[payloadAt:]
	switch {
	case number(0) != version:
		return Received{}, fmt.Errorf("%w: version %d, want %d", ErrCorrupt, number(0), version)
	case int64(number(1)) > int64(len(payload)):
		return Received{}, fmt.Errorf("%w: it is incomplete", ErrCorrupt)
	}
	if payload = payload[:number(1)]; number(2) != crc32.ChecksumIEEE(payload) {
		return Received{}, fmt.Errorf("%w: the checksum does not match", ErrCorrupt)
	}
	note := strings.TrimRight(string(data[noteAt:caughtAt]), "\x00")
	return Received{payload, note, numbers(data[caughtAt:headAt])}, nil
}

// numbers lists the signals whose bytes are set.
func numbers(caught []byte) (signals []syscall.Signal) {
	for n, set := range caught {
		if set != 0 {
			signals = append(signals, syscall.Signal(n))
		}
	}
	return signals
}
