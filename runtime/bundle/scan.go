package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
)

// errMalformed is returned for text that is not valid JSON (RFC 8259).
var errMalformed = errors.New("malformed JSON")

// entry is a field of a JSON object or a value of an array. Its value is at
// from..to of the text.
type entry struct {
	name     string // empty in an array
	from, to int
}

// entries lists what the object or array at index i of text holds, and the index
// of its closing bracket. It looks no deeper, and checks only what it needs to:
// the text has been decoded before.
func entries(text []byte, i int) (list []entry, end int, err error) {
	if i < 0 || i >= len(text) || text[i] != '{' && text[i] != '[' {
		return nil, 0, errMalformed
	}
	object := text[i] == '{'
	for i = space(text, i+1); i < len(text); i = space(text, i) {
		var e entry
		switch text[i] {
		case '}', ']':
			return list, i, nil
		case ',':
			i++
			continue
		}
		if object {
			to := valueEnd(text, i)
			if err := json.Unmarshal(text[i:to], &e.name); err != nil {
				return nil, 0, errMalformed
			}
			i = space(text, space(text, to)+1) // behind the colon
		}
		e.from, e.to = i, valueEnd(text, i)
		if e.to <= i {
			break
		}
		list, i = append(list, e), e.to
	}
	return nil, 0, errMalformed
}

// space is the index of the next byte from i on that is no white space.
func space(text []byte, i int) int {
	for i < len(text) && bytes.IndexByte([]byte(" \t\r\n"), text[i]) >= 0 {
		i++
	}
	return i
}

// valueEnd is the index behind the value at i.
func valueEnd(text []byte, i int) int {
	depth := 0
	for ; i < len(text); i++ {
		switch text[i] {
		case '"':
			i = stringEnd(text, i)
			if depth == 0 {
				return min(i+1, len(text))
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth < 0 {
				return i
			}
			if depth == 0 {
				return i + 1
			}
		case ',', ':', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
		}
	}
	return len(text)
}

// stringEnd is the index of the quotation mark that ends the string at i.
func stringEnd(text []byte, i int) int {
	for i++; i < len(text) && text[i] != '"'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return i
}
