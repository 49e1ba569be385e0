package blkid

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Encode makes a file name of a label, as udev does for /dev/disk/by-label: ASCII letters,
// digits and #+-.:=@_ stay, as do printable characters of UTF-8 beyond ASCII; each other
// byte becomes \xHH. A label of dots alone, which would be a folder, has its dots encoded.
func Encode(label string) string {
	if strings.Trim(label, ".") == "" {
		return strings.Repeat(`\x2e`, len(label))
	}
	var out strings.Builder
	for len(label) > 0 {
		r, n := utf8.DecodeRuneInString(label)
		if plain(r, n) {
			out.WriteString(label[:n])
		} else {
			for _, b := range []byte(label[:n]) {
				fmt.Fprintf(&out, `\x%02x`, b)
			}
		}
		label = label[n:]
	}
	return out.String()
}

func plain(r rune, n int) bool {
	switch {
	case n > 1: // A rune error of one byte is not valid UTF-8.
		return unicode.IsPrint(r)
	case '0' <= r && r <= '9', 'A' <= r && r <= 'Z', 'a' <= r && r <= 'z':
		return true
	}
	return strings.ContainsRune("#+-.:=@_", r) && r != utf8.RuneError
}
