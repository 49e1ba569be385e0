package logs

import (
	"os"
	"path/filepath"
	"testing"
)

func FuzzLedger(f *testing.F) {
	for _, text := range []string{"", "12 no space left on device\n", "12", "-1 x", "x 1", "99999999999999999999 x"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l := ledger{filepath.Join(t.TempDir(), "x.lost")}
		if err := os.WriteFile(l.path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		lost, reason := l.read()
		if lost < 0 {
			t.Errorf("%q is read as %d bytes", text, lost)
		}
		if l.write(lost, reason); lost == 0 {
			if _, err := os.Stat(l.path); err == nil {
				t.Errorf("%q: the file exists although nothing is missing", text)
			}
			return
		}
		if again, _ := l.read(); again != lost {
			t.Errorf("%d bytes were written, %d read", lost, again)
		}
	})
}

func TestNoLedger(t *testing.T) {
	var l ledger
	l.write(5, "x")
	if lost, _ := l.read(); lost != 0 {
		t.Errorf("%d bytes are missing", lost)
	}
}
