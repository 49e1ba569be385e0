package reader

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Format appends an entry to b as text.
type Format func(b []byte, e Entry) []byte

// Formats returns a format by its name.
//
//	short  Nov 28 10:00:00.123 NAME[STREAM]: TEXT, without control characters; the end of a
//	       line that is longer than LineLimit is replaced by an ellipsis. "<" before the time
//	       means that the line was written then or before
//	json   an object per line, see Object
//	cat    the text only, byte for byte
//
// Text has no gaps: see Entry.Lost.
func Formats(name string) (Format, error) {
	switch name {
	case "short":
		return (&short{}).format, nil
	case "json":
		return JSON, nil
	case "cat":
		return (&cat{}).format, nil
	}
	return nil, fmt.Errorf("unknown format %q: want short, json or cat", name)
}

// short is for people. It keeps the text of a time, which many lines have in common.
type short struct {
	at   time.Time
	text []byte
}

func (s *short) format(b []byte, e Entry) []byte {
	if e.continued || e.Gap {
		return b
	}
	if e.Bound {
		b = append(b, '<')
	}
	if s.text == nil || !e.Time.Equal(s.at) {
		s.at, s.text = e.Time, e.Time.Local().AppendFormat(s.text[:0], "Jan 02 15:04:05.000 ")
	}
	b = plain(append(b, s.text...), []byte(e.Name))
	if e.Stream != "" {
		b = append(append(append(b, '['), e.Stream...), ']')
	}
	b = plain(append(b, ": "...), e.Text)
	if e.More {
		b = append(b, "…"...)
	}
	return append(b, '\n')
}

// plain appends text with a blank for each control character.
func plain(b, text []byte) []byte {
	for text = bytes.TrimRight(text, "\r"); len(text) > 0; {
		n := bytes.IndexFunc(text, special)
		if n < 0 {
			return append(b, text...)
		}
		b = append(b, text[:n]...)
		r, size := utf8.DecodeRune(text[n:])
		if unicode.IsControl(r) {
			r = ' '
		}
		b, text = utf8.AppendRune(b, r), text[n+size:]
	}
	return b
}

// special reports whether a rune of a text may have to be replaced: control characters, and what
// takes the place of bytes that are not UTF-8.
func special(r rune) bool { return r < ' ' || r == utf8.RuneError || r >= 0x7f && unicode.IsControl(r) }

// Object is an entry in JSON.
type Object struct {
	Time   *time.Time `json:"time,omitempty"`   // when the line was written; UTC
	Before *time.Time `json:"before,omitempty"` // in place of time: it was written then or before
	Name   string     `json:"name"`
	Stream string     `json:"stream,omitempty"` // stdout or stderr
	Text   string     `json:"text"`             // bytes that are not UTF-8 are replaced by U+FFFD
	Bytes  string     `json:"bytes,omitempty"`  // the text in base64, if it is not UTF-8
	Cut    bool       `json:"cut,omitempty"`    // the line is longer than LineLimit, and its end is left out
	Gap    bool       `json:"gap,omitempty"`    // no line: some before it may be lost
}

// Lost says that lines may be lost in front of the next one, for people; empty: the entry is a line.
func (e Entry) Lost() string {
	if !e.Gap {
		return ""
	}
	log := e.Name
	if e.Stream != "" {
		log += "[" + e.Stream + "]"
	}
	return log + ": lines may be lost: the log was rotated faster than it is read"
}

// Entry returns the entry of an object. Its text is that of the line, or its beginning.
func (o Object) Entry() (Entry, error) {
	e := Entry{Name: o.Name, Stream: o.Stream, Text: []byte(o.Text), More: o.Cut, Gap: o.Gap}
	if o.Time != nil {
		e.Time = *o.Time
	} else if o.Before != nil {
		e.Time, e.Bound = *o.Before, true
	}
	if o.Bytes != "" {
		var err error
		if e.Text, err = base64.StdEncoding.DecodeString(o.Bytes); err != nil {
			return e, fmt.Errorf("cannot read a line of a log: %w", err)
		}
	}
	return e, nil
}

// JSON is for programs.
func JSON(b []byte, e Entry) []byte {
	if e.continued {
		return b
	}
	o := Object{Name: e.Name, Stream: e.Stream, Text: strings.ToValidUTF8(string(e.Text), "\uFFFD"), Cut: e.More, Gap: e.Gap}
	at := e.Time.UTC().Truncate(time.Microsecond)
	if o.Time = &at; e.Bound {
		o.Time, o.Before = nil, &at
	}
	if !utf8.Valid(e.Text) {
		o.Bytes = base64.StdEncoding.EncodeToString(e.Text)
	}
	line, err := json.Marshal(o)
	if err != nil {
		return b
	}
	return append(append(b, line...), '\n')
}

// cat is for pipes: what the programs wrote. If a log ends without an end of line, one is
// added before the next line of another.
type cat struct{ open bool }

func (c *cat) format(b []byte, e Entry) []byte {
	if e.Gap {
		return b
	}
	if c.open && !e.continued {
		b = append(b, '\n')
	}
	c.open = e.Open || e.More
	if b = append(b, e.Text...); !c.open {
		b = append(b, '\n')
	}
	return b
}
