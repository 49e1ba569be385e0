package image

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/zstd"

	"keelson/testvm/tier"
)

func TestCompressions(t *testing.T) {
	tier.Tool(t, "zstd", "zstd")
	// The same data again, at a distance larger than the window of the fast compression. Zeros
	// between them take little time.
	data := make([]byte, fastWindow+4<<20)
	part := data[:1<<20]
	rng := rand.NewChaCha8([32]byte{})
	_, _ = rng.Read(part) // It never fails.
	copy(data[len(data)-len(part):], part)
	sizes := map[string]int{}
	for _, name := range Compressions() {
		var packed, again bytes.Buffer
		for _, into := range []*bytes.Buffer{&packed, &again} {
			z, err := compressions[name].open(into, int64(len(data)))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := z.Write(data); err != nil {
				t.Fatal(err)
			}
			if err := z.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(packed.Bytes(), again.Bytes()) {
			t.Errorf("%s: two results differ", name)
		}
		sizes[name] = packed.Len()
		if got := unpackZstd(t, name, &packed); !bytes.Equal(got, data) {
			t.Errorf("%s: the unpacked data differ", name)
		}
	}
	if sizes[Best] >= sizes[Fast] || sizes[Fast] >= sizes[None] || sizes[None] != len(data) {
		t.Errorf("sizes are %v", sizes)
	}
	if err := checkCompression("brotli"); err == nil || checkCompression("") != nil {
		t.Errorf("an unknown one: %v", err)
	}
}

func unpackZstd(t *testing.T, name string, packed io.Reader) []byte {
	t.Helper()
	if name != None {
		z, err := zstd.NewReader(packed, zstd.WithDecoderMaxWindow(64<<20)) // What best promises.
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		packed = z
	}
	data, err := io.ReadAll(packed)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
