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
		"logs --since nonsense":   `--since: cannot read time "nonsense": want 2006-01-02T15:04:05Z, `,
		"logs --until=25:00 web":  `--until: cannot read time "25:00": want `,
		"logs --grep (":           "--grep: error parsing regexp: missing closing )",
		"logs -o xml":             `-o: unknown format "xml": want short, json or cat`,
		"logs -f --until today":   "-f and --until exclude each other",
		"logs --since=-5m ../etc": `no service is named "../etc"`,
	} {
		var out, diag bytes.Buffer
		code := commandLine(nil, &out, &diag).Run(t.Context(), strings.Fields(args))
		if text := diag.String(); code == control.CodeOK || !strings.Contains(text, want) || strings.Count(text, "\n") != 1 || out.Len() > 0 {
			t.Errorf("%s: %d, %q, %q", args, code, text, out.String())
		}
	}
}
