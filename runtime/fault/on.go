//go:build faults

package fault

import (
	"os"
	"strings"
	"time"
)

// Here panics if a fault is injected at the place.
func Here(place string) {
	if os.Getenv(Variable) == place {
		_ = os.Unsetenv(Variable)
		panic("injected by the environment, in " + place)
	}
	text, err := os.ReadFile(Path)
	if err != nil {
		return
	}
	switch strings.TrimSpace(string(text)) {
	case place:
		_ = os.Remove(Path)
		panic("injected, in " + place)
	case place + "!":
		panic("injected repeatedly, in " + place)
	}
}

// Spoil damages data if the file Spoiled exists.
func Spoil(data []byte) {
	if _, err := os.Stat(Spoiled); err == nil && len(data) > 0 {
		data[len(data)-1] ^= 1
	}
}

// Shorten returns limit, or the duration in the file Limit if that is shorter.
func Shorten(limit time.Duration) time.Duration {
	text, err := os.ReadFile(Limit)
	if err != nil {
		return limit
	}
	shorter, err := time.ParseDuration(strings.TrimSpace(string(text)))
	if err != nil {
		return limit
	}
	return min(limit, shorter)
}
