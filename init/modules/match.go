package modules

import "strings"

// match matches as fnmatch(3) without flags, with "-" and "_" the same: "*", "?" and
// "[a-c]" are special. It takes at most len(pattern)*len(text) steps.
func match(pattern, text string) bool {
	p, t := 0, 0
	star, mark := -1, 0 // where to backtrack to: after the last "*"
	for t < len(text) {
		if p < len(pattern) && pattern[p] == '*' {
			p++
			star, mark = p, t
			continue
		}
		if p < len(pattern) {
			if width, ok := one(pattern[p:], text[t]); ok {
				p += width
				t++
				continue
			}
		}
		if star < 0 {
			return false
		}
		mark++
		p, t = star, mark
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// one matches c with the first element of the pattern and returns its length.
func one(pattern string, c byte) (width int, ok bool) {
	switch pattern[0] {
	case '?':
		return 1, true
	case '[':
		if end := strings.IndexByte(pattern[1:], ']'); end > 0 {
			return end + 2, inClass(pattern[1:end+1], c)
		}
	}
	return 1, dash(pattern[0]) == dash(c)
}

func inClass(class string, c byte) bool {
	negated := class[0] == '!' || class[0] == '^'
	if negated {
		class = class[1:]
	}
	for i := 0; i < len(class); i++ {
		low, high := class[i], class[i]
		if i+2 < len(class) && class[i+1] == '-' {
			high = class[i+2]
			i += 2
		}
		if low <= c && c <= high {
			return !negated
		}
	}
	return negated
}

// dash replaces "-" by "_", which are the same in names of modules.
func dash(c byte) byte {
	if c == '-' {
		return '_'
	}
	return c
}

// bus returns the part of an alias or pattern before the first ":"; "" when there is
// none or a wildcard precedes it.
func bus(alias string) string {
	i := strings.IndexAny(alias, ":*?[")
	if i < 0 || alias[i] != ':' {
		return ""
	}
	return alias[:i]
}
