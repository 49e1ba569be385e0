package main

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
	"testing"

	"keelson/services/control"
)

// What /init starts gets its arguments as they are, in the number that it takes.
func TestInternals(t *testing.T) {
	var got []string
	r := internal{2, func(_ context.Context, args []string, _ io.Writer) (int, error) { got = args; return 7, nil }}
	if code, err := r.start(t.Context(), "x", []string{"-a", "b"}, io.Discard); code != 7 || err != nil || !slices.Equal(got, []string{"-a", "b"}) {
		t.Errorf("%d, %v, %q", code, err, got)
	}
	if code, err := r.start(t.Context(), "x", []string{"-a"}, io.Discard); code != control.CodeUsage || err == nil {
		t.Errorf("%d, %v", code, err)
	}
	app := commandLine(nil, io.Discard, io.Discard)
	for name := range internals {
		if code := app.Run(t.Context(), []string{name}); code != control.CodeUsage {
			t.Errorf("%s is a verb: %d", name, code)
		}
	}
}

// The examples of all verbs can be parsed, and each verb has one.
func TestExamples(t *testing.T) {
	if err := commandLine(nil, io.Discard, io.Discard).CheckExamples(t.Context()); err != nil {
		t.Error(err)
	}
}

// The help of this program has the verbs that work only on the machine.
func TestHelp(t *testing.T) {
	var out bytes.Buffer
	app := commandLine(nil, &out, io.Discard)
	if code := app.Run(t.Context(), []string{"help", "poweroff"}); code != 0 || !strings.Contains(out.String(), "-f, --force") {
		t.Errorf("%d, %s", code, out.String())
	}
	out.Reset()
	app.Run(t.Context(), []string{"help"})
	for _, verb := range []string{"  logs ", "  security ", "  boot ", "  start ", "--containerd-namespace"} {
		if !strings.Contains(out.String(), verb) {
			t.Errorf("the overview does not have %q:\n%s", verb, out.String())
		}
	}
}
