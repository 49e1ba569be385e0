package unpack

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// packed returns text in each format.
func packed(t testing.TB, text string) map[string][]byte {
	t.Helper()
	formats := map[string]func(io.Writer) (io.WriteCloser, error){
		"gzip": func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil },
		"zstd": func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) },
	}
	for name, check := range map[string]byte{"xz CRC32": xz.CRC32, "xz CRC64": xz.CRC64, "xz SHA-256": xz.SHA256} {
		formats[name] = func(w io.Writer) (io.WriteCloser, error) { return xz.WriterConfig{CheckSum: check}.NewWriter(w) }
	}
	all := map[string][]byte{}
	for name, open := range formats {
		var buf bytes.Buffer
		w, err := open(&buf)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		all[name] = buf.Bytes()
	}
	return all
}

func TestCopy(t *testing.T) {
	text := strings.Repeat("a module ", 100000)
	for name, data := range packed(t, text) {
		var out strings.Builder
		if err := Copy(&out, bytes.NewReader(data)); err != nil || out.String() != text {
			t.Errorf("%s: %d bytes, %v", name, out.Len(), err)
		}
		if err := Copy(io.Discard, bytes.NewReader(data[:len(data)-9])); err == nil {
			t.Errorf("%s: no error for a truncated file", name)
		}
	}
	for _, text := range []string{"", "\x7fELF and more", "\x1f"} {
		if err := Copy(io.Discard, strings.NewReader(text)); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzCopy(f *testing.F) {
	for _, data := range packed(f, "a module") {
		f.Add(data)
	}
	f.Fuzz(func(_ *testing.T, data []byte) {
		_ = Copy(&limited{}, bytes.NewReader(data))
	})
}

// limited is a writer that accepts a megabyte.
type limited struct{ n int }

func (l *limited) Write(p []byte) (int, error) {
	if l.n += len(p); l.n > 1<<20 {
		return 0, io.ErrShortWrite
	}
	return len(p), nil
}
