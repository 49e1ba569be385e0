package events

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"keelson/runtime/bootid"
)

// ID identifies an event. Its text is "BOOT.SEQ", such as "9f3c21aa.482". The zero value
// stands for the time before all events.
type ID struct {
	Boot uint32 // the first 32 bits of the boot ID
	Seq  uint64 // at least 1
}

// String returns the text of an ID.
func (id ID) String() string { return fmt.Sprintf("%08x.%d", id.Boot, id.Seq) }

// IsZero reports whether the ID is that of no event.
func (id ID) IsZero() bool { return id == ID{} }

// bootDigits is how many hexadecimal digits of the boot ID are part of an ID.
const bootDigits = 8

// ParseID reads the text of an ID. It accepts only what String returns for an event.
func ParseID(text string) (ID, error) {
	boot, number, ok := strings.Cut(text, ".")
	if !ok {
		return ID{}, fmt.Errorf("cannot read event ID %.64q: it has no dot: want BOOT.NUMBER", text)
	}
	id := ID{}
	var err error
	if id.Boot, err = parseBoot(boot); err != nil {
		return ID{}, fmt.Errorf("cannot read event ID %.64q: %w", text, err)
	}
	id.Seq, err = strconv.ParseUint(number, 10, 64)
	if err != nil || id.Seq == 0 || number != strconv.FormatUint(id.Seq, 10) {
		return ID{}, fmt.Errorf("cannot read event ID %.64q: its second part is not a number from 1", text)
	}
	return id, nil
}

// errBoot is returned for a text that is not the begin of a boot ID.
var errBoot = errors.New("its first part is not eight lower-case hexadecimal digits")

func parseBoot(digits string) (uint32, error) {
	n, err := strconv.ParseUint(digits, 16, 32)
	if err != nil || len(digits) != bootDigits || digits != strings.ToLower(digits) {
		return 0, errBoot
	}
	return uint32(n), nil
}

// MarshalText returns the text of an ID.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is ParseID.
func (id *ID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseID(string(text))
	return err
}

// ThisBoot returns the part of an ID that is the same for all events of this boot.
func ThisBoot() (uint32, error) {
	id, err := bootid.Read()
	return binary.BigEndian.Uint32(id[:]), err
}
