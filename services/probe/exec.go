package probe

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"keelson/runtime/bundle"
)

// largestOutput is the most of a command's output that an error has, in bytes.
const largestOutput = 200

// execCheck succeeds when the command exits with 0.
func execCheck(p bundle.Probe, c Container) (func(context.Context) error, error) {
	if c.Exec == nil {
		return nil, errors.New("cannot run a command in the container")
	}
	return func(ctx context.Context) error {
		code, output, err := c.Exec(ctx, p.Args)
		if err == nil && code == 0 {
			return nil
		}
		name := "exec " + p.Args[0]
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("%s: %w", name, errNoAnswer)
		case err != nil:
			return fmt.Errorf("%s: %w", name, err)
		}
		return errors.New(strings.TrimSuffix(fmt.Sprintf("%s: exit code %d: %s", name, code, lastLine(output)), ": "))
	}, nil
}

// lastLine returns the last line that is not blank.
func lastLine(output string) string {
	output = strings.TrimSpace(output)
	return printable(output[strings.LastIndexByte(output, '\n')+1:], largestOutput)
}

// printable returns s without what a console cannot print, as one line of at most n
// bytes.
func printable(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r == unicode.ReplacementChar || !unicode.IsPrint(r):
			return -1
		}
		return r
	}, s[:min(len(s), 4*n)])
	for len(s) > n {
		s = strings.ToValidUTF8(s[:n], "")
	}
	return s
}
