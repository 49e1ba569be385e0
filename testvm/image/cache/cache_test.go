package cache

import (
	"os"
	"path/filepath"
	"testing"
)

func TestStoreChecksWhatItGives(t *testing.T) {
	s := Store{Dir: filepath.Join(t.TempDir(), "store")}
	if _, ok := s.Get("a"); ok {
		t.Error("an empty store gave something")
	}
	if err := s.Put("a", []byte("data")); err != nil {
		t.Fatal(err)
	}
	if b, ok := s.Get("a"); !ok || string(b) != "data" {
		t.Errorf("got %q, %v", b, ok)
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "a"), []byte("dada"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Get("a"); ok {
		t.Error("a damaged file was given")
	}
}

func TestKeyTellsPartsApart(t *testing.T) {
	if Key("ab", "c") == Key("a", "bc") || Key("a") != Key("a") {
		t.Error("keys do not depend on the parts alone")
	}
}
