// Package bootid reads the boot ID: a random UUID that the kernel makes at its start, and
// which tells boots apart. Source: random(4).
package bootid

import (
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"sync"
)

// Size is the size of an ID, in bytes.
const Size = 16

const path = "/proc/sys/kernel/random/boot_id"

// Read returns the ID of the boot that runs. It reads the file once.
var Read = sync.OnceValues(func() ([Size]byte, error) { return read(path) })

func read(path string) (id [Size]byte, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return id, fmt.Errorf("cannot read the boot ID: %w", err)
	}
	all, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(string(text)), "-", ""))
	if err == nil && len(all) != Size {
		err = fmt.Errorf("it has %d bytes, want %d", len(all), Size)
	}
	if err != nil {
		return id, fmt.Errorf("cannot read the boot ID %.64q in %s: %w", text, path, err)
	}
	return [Size]byte(all), nil
}
