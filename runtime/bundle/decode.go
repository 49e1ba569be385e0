package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// decode decodes data into v. Its errors name the field and the value of a wrong type, or
// line and column of a syntax error.
func decode(path string, data []byte, v any) error {
	err := json.Unmarshal(data, v)
	var syntax *json.SyntaxError
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &syntax):
		line, column := position(data, syntax.Offset)
		return fmt.Errorf("%s:%d:%d: not JSON: %w", path, line, column, err)
	case errors.As(err, &wrong):
		field := wrong.Field
		if field == "" {
			field = "(whole file)"
		}
		line, _ := position(data, wrong.Offset)
		why := fmt.Sprintf("a JSON %s where %s is needed (line %d)", wrong.Value, wrong.Type, line)
		return fieldError(path, field, excerpt(data, wrong), why)
	}
	return fmt.Errorf("%s: %w", path, err)
}

// position returns the line and column, from 1, of the byte at offset.
func position(data []byte, offset int64) (line, column int) {
	before := data[:max(0, min(int(offset), len(data)))]
	line = bytes.Count(before, []byte("\n")) + 1
	return line, len(before) - (bytes.LastIndexByte(before, '\n') + 1) + 1
}

// excerpt returns the value of a wrong type. The error's offset is the end of a plain
// value, and the start of a list or object.
func excerpt(data []byte, wrong *json.UnmarshalTypeError) string {
	const longest = 60
	at := max(0, min(int(wrong.Offset), len(data)))
	if wrong.Value == "object" || wrong.Value == "array" {
		rest := data[max(0, at-1):]
		return strings.Join(strings.Fields(string(rest[:min(longest, len(rest))])), " ") + "…"
	}
	if word, ok := strings.CutPrefix(wrong.Value, "number "); ok {
		return word
	}
	before := data[:at]
	if start := bytes.LastIndexAny(before, ":[,{\n"); start >= 0 {
		before = before[start+1:]
	}
	word := strings.Trim(strings.TrimSpace(string(before)), `"`)
	return word[max(0, len(word)-longest):]
}
