package cache

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
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

// A file that is open can be read after it was removed; a damaged one is not opened.
func TestOpen(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	if _, ok := s.Open("a"); ok {
		t.Error("an empty store has a file")
	}
	for _, name := range []string{"a", "b"} {
		if err := s.Put(name, []byte("data of "+name)); err != nil {
			t.Fatal(err)
		}
	}
	f, ok := s.Open("a")
	if !ok {
		t.Fatal("the file is not there")
	}
	defer f.Close()
	if err := s.Keep(0); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(f); err != nil || string(text) != "data of a" {
		t.Errorf("read %q, %v", text, err)
	}
	if err := s.Put("b", []byte("data")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "b"), []byte("dada"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Open("b"); ok {
		t.Error("a damaged file was opened")
	}
}

func TestKeyTellsPartsApart(t *testing.T) {
	if Key("ab", "c") == Key("a", "bc") {
		t.Error("parts run into one another")
	}
}

func TestKeepRemovesTheOldest(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	for i, name := range []string{"a", "b", "c"} {
		if err := s.Put(name, []byte(name)); err != nil {
			t.Fatal(err)
		}
		at := time.Unix(int64(i), 0)
		if err := os.Chtimes(filepath.Join(s.Dir, name+".sha256"), at, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Keep(2); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"a": false, "b": true, "c": true} {
		if _, ok := s.Get(name); ok != want {
			t.Errorf("%s: there %v, want %v", name, ok, want)
		}
	}
}
