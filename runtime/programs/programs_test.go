package programs

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var digest = "sha256:" + strings.Repeat("a", 64)

func TestParseList(t *testing.T) {
	for _, tc := range []struct {
		text, want string // want is part of the error
	}{
		{`{"usr/bin/service": "` + digest + `", "usr/bin/containerd": "link:service"}`, ""},
		{`{"usr/libexec/containerd-shim-runc-v2": "` + digest + `"}`, ""},
		{`{}`, "is empty"},
		{`null`, "is empty"},
		{``, "cannot read the list"},
		{`{"usr/bin/runc": "link:service"}`, "want sha256:"},
		{`{"usr/bin/containerd": "link:../../bin/sh"}`, "want sha256:"},
		{`{"usr/bin/runc": "sha256:` + strings.Repeat("A", 64) + `"}`, "want sha256:"},
		{`{"usr/bin/runc": 7}`, "cannot read the list"},
		{`{"usr/bin/sh": "` + digest + `"}`, "usr/bin/sh is none of the programs"},
		{`{"init": "` + digest + `"}`, "init is none of the programs"},
		{`{"usr/bin/../bin/runc": "` + digest + `"}`, "is none of the programs"},
		{`{"/usr/bin/runc": "` + digest + `"}`, "is none of the programs"},
	} {
		list, err := ParseList([]byte(tc.text))
		if tc.want == "" && (err != nil || len(list) == 0) || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v, %v; want %q", tc.text, list, err, tc.want)
		}
	}
}

func FuzzParseList(f *testing.F) {
	f.Add([]byte(`{"usr/bin/service": "` + digest + `", "usr/bin/ctr": "link:service"}`))
	f.Add([]byte(`{"": "", "usr/bin/runc": "sha256:"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := ParseList(text)
		if err != nil {
			return
		}
		for name := range list {
			if CheckName(name) != nil || !filepath.IsLocal(name) || list.IsLink(name) && !MayLink(name) {
				t.Errorf("%q of %q", name, text)
			}
		}
	})
}

func TestFolders(t *testing.T) {
	for name, want := range map[string]bool{"usr": true, "usr/bin": true, "usr/libexec/": true, "us": false, "usr/bin/service": false, "etc": false, "usr/lib": false, "": false} {
		if got := IsFolder(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func TestTargets(t *testing.T) {
	version := "sha256-" + strings.Repeat("0", 64)
	for target, ok := range map[string]bool{"image": true, version: true, "removed": false, "": false, "../" + version: false, version + "0": false, digest: false} {
		if err := CheckTarget(target); (err == nil) != ok {
			t.Errorf("%q: %v", target, err)
		}
	}
	if DigestOf(version) != "sha256:"+strings.Repeat("0", 64) || DigestOf("image") != "" {
		t.Errorf("digests %q, %q", DigestOf(version), DigestOf("image"))
	}
	dir := t.TempDir()
	for _, tc := range []struct {
		link, want string
		ok         bool
	}{{"", Image, true}, {version, version, true}, {"image", Image, true}, {"/etc", Image, false}} {
		path := filepath.Join(dir, "current")
		_ = os.Remove(path)
		if tc.link != "" {
			if err := os.Symlink(tc.link, path); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := Current(dir); got != tc.want || (err == nil) != tc.ok {
			t.Errorf("link to %q: %q, %v", tc.link, got, err)
		}
	}
}

func TestState(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "programs")
	if _, known, err := ReadTrial(dir); known || err != nil {
		t.Errorf("no trial: %v, %v", known, err)
	}
	version := "sha256-" + strings.Repeat("0", 64)
	begun := Trial{Target: version, Old: Image, Probation: time.Second, Services: map[string]int{"web": 7}}
	if err := WriteTrial(dir, begun); err != nil {
		t.Fatal(err)
	}
	if got, known, err := ReadTrial(dir); !known || err != nil || !reflect.DeepEqual(got, begun) {
		t.Errorf("trial %+v, %v, %v", got, known, err)
	}
	if err := WriteReason(dir, "why not"); err != nil || ReadReason(dir) != "why not" {
		t.Errorf("reason %q, %v", ReadReason(dir), err)
	}
	want := Outcome{Target: version, Old: Image, Reason: "why not"}
	if err := EndTrial(dir, want); err != nil {
		t.Fatal(err)
	}
	if _, known, _ := ReadTrial(dir); known {
		t.Error("the trial still exists")
	}
	if got, known, err := ReadOutcome(dir); !known || err != nil || got != want {
		t.Errorf("outcome %+v, %v, %v", got, known, err)
	}
	// The next trial forgets how the last one ended.
	if err := WriteTrial(dir, begun); err != nil {
		t.Fatal(err)
	}
	if _, known, _ := ReadOutcome(dir); known || ReadReason(dir) != "" {
		t.Error("the outcome of the last trial is left")
	}
	if err := os.WriteFile(filepath.Join(dir, "trial"), []byte(`{"target": "../x", "old": "image"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, known, err := ReadTrial(dir); !known || err == nil {
		t.Errorf("a trial of another folder: %v, %v", known, err)
	}
	if ReadUsed(dir) != Image {
		t.Errorf("used: %q", ReadUsed(dir))
	}
	if err := WriteUsed(dir, version); err != nil || ReadUsed(dir) != version {
		t.Errorf("used: %q, %v", ReadUsed(dir), err)
	}
}
