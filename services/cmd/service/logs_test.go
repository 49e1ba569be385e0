package main

import (
	"bytes"
	"strings"
	"testing"

	"keelson/services/control"
)

// A mistake is one line that says what is accepted.
func TestLogsUsage(t *testing.T) {
	for args, want := range map[string]string{
		"logs --since nonsense":    `--since: cannot read time "nonsense": want 2006-01-02T15:04:05Z, `,
		"logs --until=25:00 web":   `--until: cannot read time "25:00": want `,
		"logs --grep (":            "--grep: error parsing regexp: missing closing )",
		"logs -o xml":              `-o: unknown format "xml": want short, json or cat`,
		"logs -f --until today":    "-f and --until exclude each other",
		"logs --since=-5m ../etc":  `no service is named "../etc"`,
		"logs --boot 1":            `--boot: bad boot "1": want 0 for the one that runs, -1 for the one before, and so on`,
		"logs --boot x web":        `--boot: bad boot "x": want`,
		"logs -f --boot -1":        "-f and --boot of a boot that has ended exclude each other",
		"logs --boot -99 kernel":   "boot -99: no such boot is kept",
		"logs --list-boots -o cat": "--list-boots takes only -o short or -o json",
		"logs --list-boots web":    "--list-boots takes only -o short or -o json",
	} {
		var out, diag bytes.Buffer
		code := commandLine(nil, &out, &diag).Run(t.Context(), strings.Fields(args))
		if text := diag.String(); code == control.CodeOK || !strings.Contains(text, want) || strings.Count(text, "\n") != 1 || out.Len() > 0 {
			t.Errorf("%s: %d, %q, %q", args, code, text, out.String())
		}
	}
}
