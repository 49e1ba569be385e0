//go:build faults

package fault

import (
	"os"
	"strings"
)

// Here panics when that is wanted of the place.
func Here(place string) {
	if os.Getenv(Variable) == place {
		_ = os.Unsetenv(Variable)
		panic("asked to at start, in " + place)
	}
	text, err := os.ReadFile(Path)
	if err != nil {
		return
	}
	switch strings.TrimSpace(string(text)) {
	case place:
		_ = os.Remove(Path)
		panic("asked to, in " + place)
	case place + "!":
		panic("asked to again, in " + place)
	}
}

// Spoil changes data when that is wanted.
func Spoil(data []byte) {
	if _, err := os.Stat(Spoiled); err == nil && len(data) > 0 {
		data[len(data)-1] ^= 1
	}
}
