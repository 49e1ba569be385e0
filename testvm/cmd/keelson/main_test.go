package main

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// usageStatus is the exit status that the package comment promises for a wrong command
// line.
const usageStatus = 80

func newTestParser(t *testing.T) (*kong.Kong, *bytes.Buffer) {
	t.Helper()
	k := newParser(&cli{})
	var out bytes.Buffer
	k.Stdout, k.Stderr = &out, &out
	k.Exit = func(int) {}
	return k, &out
}

// Each verb has a help that says what it does and explains every flag.
func TestHelp(t *testing.T) {
	k, _ := newTestParser(t)
	var verbs []string
	for _, verb := range k.Model.Children {
		verbs = append(verbs, verb.Name)
		_, out := newTestParser(t)
		one, _ := newTestParser(t)
		one.Stdout = out
		_, _ = one.Parse([]string{verb.Name, "--help"})
		if !strings.Contains(out.String(), "Usage: keelson "+verb.Name) || verb.Help == "" {
			t.Errorf("%s --help: %s", verb.Name, out)
		}
		for _, flag := range verb.Flags {
			if flag.Help == "" {
				t.Errorf("%s --%s has no help", verb.Name, flag.Name)
			}
		}
		for _, arg := range verb.Positional {
			if arg.Help == "" {
				t.Errorf("%s <%s> has no help", verb.Name, arg.Name)
			}
		}
	}
	for _, want := range []string{"build", "run", "check", "bundle", "pull", "bench", "init-image", "version"} {
		if !slices.Contains(verbs, want) {
			t.Errorf("no verb %s among %q", want, verbs)
		}
	}
}

// For a mistyped verb or flag the message suggests the right one.
func TestMistyped(t *testing.T) {
	for want, args := range map[string][]string{`"formats"`: {"formts"}, `"init-image"`: {"init-imag"}, `"--service"`: {"bundle", "--servce", "x"}} {
		k, _ := newTestParser(t)
		_, err := k.Parse(args)
		var parse *kong.ParseError
		if !errors.As(err, &parse) || !strings.Contains(err.Error(), "did you mean "+want) || parse.ExitCode() != usageStatus {
			t.Errorf("%q: %v", args, err)
		}
	}
}
