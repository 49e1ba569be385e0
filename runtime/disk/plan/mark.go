package plan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
)

// MarkSize is the size of a mark in bytes.
const MarkSize = 512

// TableMarkAt is the position of the mark of a disk that gets a partition table: after the table,
// before the first partition. Other devices have it in their last MarkSize bytes, after the file
// system, which at first is shorter than the device by Reserve.
const (
	TableMarkAt = 1<<20 - MarkSize
	Reserve     = 1 << 20
)

// MinSize is the size of the smallest device that is formatted, in bytes.
const MinSize = 16 << 20

// Mark is what is on a device while it is formatted: what is being made.
type Mark struct {
	Table string `json:"table,omitempty"`
	Type  string `json:"type"`
	Label string `json:"label,omitempty"`
	UUID  string `json:"uuid"`
}

// At returns the position of the mark on a device of size bytes.
func (m Mark) At(size int64) int64 {
	if m.Table != "" {
		return TableMarkAt
	}
	return size - MarkSize
}

const magic = "keelson formats this device 1\n"

// Encode returns the MarkSize bytes of a mark.
func (m Mark) Encode() ([]byte, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	if len(magic)+len(text) > MarkSize {
		return nil, fmt.Errorf("label %q: too long", m.Label)
	}
	b := make([]byte, MarkSize)
	copy(b[copy(b, magic):], text)
	return b, nil
}

var uuidPattern = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// ParseMark returns the mark in b, or nil if there is none that Encode could have made.
func ParseMark(b []byte) *Mark {
	text, ok := bytes.CutPrefix(b, []byte(magic))
	if !ok {
		return nil
	}
	var m Mark
	text = bytes.TrimRight(text, "\x00")
	if json.Unmarshal(text, &m) != nil || labelLimits[m.Type] == 0 || !uuidPattern.MatchString(m.UUID) ||
		m.Table != "" && m.Table != GPT && m.Table != DOS {
		return nil
	}
	if w := (Want{Label: m.Label, Type: m.Type}); m.Type != LUKS && w.Validate() != nil {
		return nil
	}
	return &m
}
