package runner

import (
	"strconv"
	"strings"
)

// Kinds of tokens.
type tokenKind int

const (
	isEnd      tokenKind = iota
	isWord               // text is without its quotes
	isRedirect           // text is the operator
	isOperator           // "\n", ";", "&", "&&", "||"
)

type token struct {
	kind   tokenKind
	text   string
	quoted bool // a part before the first "=" is quoted
	fd     int  // file descriptor of a redirection
}

// scanner splits a script into tokens (sh(1posix), "Token Recognition").
type scanner struct {
	text string
	at   int
	line int // line of at, counted from 1
}

// peek returns the next byte, or 0 at the end. A script contains no zero byte.
func (s *scanner) peek() byte {
	if s.at < len(s.text) {
		return s.text[s.at]
	}
	return 0
}

func (s *scanner) take(prefix string) bool {
	if !strings.HasPrefix(s.text[s.at:], prefix) {
		return false
	}
	s.at += len(prefix)
	s.line += strings.Count(prefix, "\n")
	return true
}

// next reads a token.
func (s *scanner) next() (token, error) {
	for s.take(" ") || s.take("\t") || s.take("\r") || s.take("\\\n") {
	}
	if s.peek() == '#' {
		if i := strings.IndexByte(s.text[s.at:], '\n'); i >= 0 {
			s.at += i
		} else {
			s.at = len(s.text)
		}
	}
	if s.at == len(s.text) {
		return token{}, nil
	}
	if fd, ok := s.descriptor(); ok {
		return s.operator(fd)
	}
	for _, op := range []string{"&&", "||", "\n", ";;", ";", "|", "&"} {
		if s.take(op) {
			if op == ";;" || op == "|" {
				return token{}, errNeedsShell{s.line, op}
			}
			return token{kind: isOperator, text: op}, nil
		}
	}
	return s.word()
}

// descriptor reads the optional digit before a redirection; it returns -1 if there is
// no digit, and false if no redirection follows.
func (s *scanner) descriptor() (int, bool) {
	c := s.peek()
	if c == '<' || c == '>' {
		return -1, true
	}
	if c >= '0' && c <= '9' && s.at+1 < len(s.text) && strings.IndexByte("<>", s.text[s.at+1]) >= 0 {
		s.at++
		return int(c - '0'), true
	}
	return 0, false
}

// operator reads the operator of a redirection.
func (s *scanner) operator(fd int) (token, error) {
	for _, op := range []string{"<<", "<>", "<&", ">|", ">>", ">&", "<", ">"} {
		if !s.take(op) {
			continue
		}
		if op == "<<" || op == "<>" || op == "<&" || op == ">|" {
			return token{}, errNeedsShell{s.line, op}
		}
		if fd < 0 {
			fd = 1
			if op == "<" {
				fd = 0
			}
		}
		return token{kind: isRedirect, text: op, fd: fd}, nil
	}
	return token{}, errNeedsShell{s.line, "a redirection"}
}

// redirect reads the target of a redirection.
func (s *scanner) redirect(t token) (redirect, error) {
	line := s.line
	to, err := s.next()
	if err != nil {
		return redirect{}, err
	}
	number, digits := strconv.Atoi(to.text)
	if to.kind != isWord || t.fd > 2 || t.text == ">&" && (digits != nil || number < 0 || number > 2) {
		return redirect{}, errNeedsShell{line, "such a redirection"}
	}
	return redirect{fd: t.fd, op: t.text, target: to.text}, nil
}

// word reads a word and removes its quotes.
func (s *scanner) word() (token, error) {
	t := token{kind: isWord}
	var text strings.Builder
	for begin := s.at; ; {
		if s.take("\\\n") {
			continue
		}
		c := s.peek()
		switch {
		case c == 0 && s.at < len(s.text):
			return token{}, errNeedsShell{s.line, "a zero byte"}
		case c == 0 || strings.IndexByte(" \t\r\n;&|<>", c) >= 0:
			t.text = text.String()
			return t, nil
		case strings.IndexByte("$`*?[()", c) >= 0, c == '~' && s.at == begin:
			return token{}, errNeedsShell{s.line, string(c)}
		case c == '\\' || c == '\'' || c == '"':
			t.quoted = t.quoted || !strings.Contains(text.String(), "=")
			if err := s.quoted(&text); err != nil {
				return token{}, err
			}
		default:
			text.WriteByte(c)
			s.at++
		}
	}
}

// quoted reads quoted text, or the character after a backslash.
func (s *scanner) quoted(text *strings.Builder) error {
	quote := s.text[s.at]
	line := s.line
	s.at++
	if quote == '\\' {
		if s.at == len(s.text) {
			return errNeedsShell{line, "a backslash at the end"}
		}
		text.WriteByte(s.text[s.at])
		s.at++
		return nil
	}
	for s.at < len(s.text) {
		c := s.text[s.at]
		switch {
		case c == quote:
			s.at++
			return nil
		case c == 0:
			return errNeedsShell{s.line, "a zero byte"}
		case quote == '"' && (c == '$' || c == '`'):
			return errNeedsShell{s.line, string(c)}
		case quote == '"' && s.take("\\\n"):
			continue
		case quote == '"' && c == '\\' && s.at+1 < len(s.text) && strings.IndexByte("$`\"\\", s.text[s.at+1]) >= 0:
			s.at++
			c = s.text[s.at]
		case c == '\n':
			s.line++
		}
		text.WriteByte(c)
		s.at++
	}
	return errNeedsShell{line, "a quote without an end"}
}
