package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

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
		var out bytes.Buffer
		code, err := run(t.Context(), strings.Fields(args), &out)
		if code == control.CodeOK || err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %d, %v", args, code, err)
		}
	}
}

func TestLogOptions(t *testing.T) {
	inv, _, err := parse(strings.Fields("logs -f a --since -5m b --grep x+ -o json -n 3"))
	if err != nil || strings.Join(inv.names, " ") != "a b" || !inv.follow || inv.lines != 3 {
		t.Fatalf("%+v, %v", inv, err)
	}
	now := time.Now()
	o, format, err := inv.log.parse(now)
	if err != nil || !o.Since.Equal(now.Add(-5*time.Minute)) || !o.Until.IsZero() || o.Match.String() != "x+" || format == nil {
		t.Errorf("%+v, %v", o, err)
	}
}
