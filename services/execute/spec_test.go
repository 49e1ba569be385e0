package execute

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSpec(t *testing.T) {
	container := json.RawMessage(`{"process": {"args": ["web"], "cwd": "/", "terminal": true, "env": ["A=1", "B=2"], "newer": {"x": 1}, "user": {"uid": 7}}, "root": {}}`)
	for _, tc := range []struct {
		process Process
		want    string
	}{
		{Process{Args: []string{"sh"}}, `{"args": ["sh"], "cwd": "/", "terminal": false, "env": ["A=1", "B=2"], "newer": {"x": 1}, "user": {"uid": 7}}`},
		{Process{Args: []string{"sh"}, Terminal: true, Dir: "/d", User: &User{UID: 1, GID: 2}, Env: []string{"A=3", "C="}},
			`{"args": ["sh"], "cwd": "/d", "terminal": true, "env": ["B=2", "A=3", "C="], "newer": {"x": 1}, "user": {"uid": 1, "gid": 2}}`},
	} {
		text, err := tc.process.spec(container)
		var got, want any
		if err := errors.Join(err, json.Unmarshal(text, &got), json.Unmarshal([]byte(tc.want), &want)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v: %s, %v", tc.process, text, err)
		}
	}
	for _, bad := range []string{``, `{}`, `{"process": 3}`} {
		if text, err := (Process{}).spec(json.RawMessage(bad)); err == nil {
			t.Errorf("%q: %s", bad, text)
		}
	}
	if text, err := (Process{Env: []string{"A=1"}}).spec(json.RawMessage(`{"process": {"env": 3}}`)); err == nil {
		t.Errorf("%s", text)
	}
}

func TestParseUser(t *testing.T) {
	for text, want := range map[string]*User{"0": {}, "1:2": {UID: 1, GID: 2}, "4294967295": {UID: 4294967295}, "www-data": nil, "1:x": nil, "-1": nil, "": nil} {
		if got, err := ParseUser(text); !reflect.DeepEqual(got, want) || (err == nil) != (want != nil) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

// Names are those of the container's files. Files that are no regular files of the container, which
// it may have put there, have none.
func TestFindUser(t *testing.T) {
	const passwd, group = "root:x:0:0::/:/bin/sh\nweb:x:33:44::/:/bin/sh\n", "logs:x:55:web,root\nweb:x:44:\n"
	outside := filepath.Join(t.TempDir(), "passwd")
	regular := func(dir string) error {
		return errors.Join(os.WriteFile(filepath.Join(dir, "passwd"), []byte(passwd), 0o600), os.WriteFile(filepath.Join(dir, "group"), []byte(group), 0o600))
	}
	if err := os.WriteFile(outside, []byte(passwd), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		make func(dir string) error
		user string
		want *User
	}{
		"name":           {regular, "web", &User{33, 44, []int{55}}},
		"name and group": {regular, "web:logs", &User{33, 55, nil}},
		"number":         {regular, "33", &User{33, 44, []int{55}}},
		"other number":   {regular, "7:8", &User{7, 8, nil}},
		"unknown":        {regular, "nobody", nil},
		"too large":      {regular, "99999999999", nil},
		"no files":       {func(string) error { return nil }, "7", &User{7, 0, nil}},
		"link out":       {func(dir string) error { return os.Symlink(outside, filepath.Join(dir, "passwd")) }, "web", nil},
		"FIFO":           {func(dir string) error { return unix.Mkfifo(filepath.Join(dir, "passwd"), 0o600) }, "web", nil},
		"folder":         {func(dir string) error { return os.Mkdir(filepath.Join(dir, "passwd"), 0o700) }, "web", nil},
	} {
		root := t.TempDir()
		if err := errors.Join(os.Mkdir(filepath.Join(root, "etc"), 0o700), tt.make(filepath.Join(root, "etc"))); err != nil {
			t.Fatal(err)
		}
		got, err := FindUser(root, tt.user)
		if got != nil && len(got.AdditionalGids) == 0 {
			got.AdditionalGids = nil
		}
		if !reflect.DeepEqual(got, tt.want) || (err == nil) != (tt.want != nil) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// Whatever a container has in its files, and whatever a client asks for, a user has numbers that the
// runtime takes, or there is an error.
func FuzzFindUser(f *testing.F) {
	f.Add("web:x:33:44::/:/bin/sh\n", "web:x:44:web\n", "web:web")
	f.Add("web:x:-1:99999999999\n:::\n", "x", "-1")
	f.Fuzz(func(t *testing.T, passwd, group, spec string) {
		root := t.TempDir()
		etc := filepath.Join(root, "etc")
		if err := errors.Join(os.Mkdir(etc, 0o700), os.WriteFile(filepath.Join(etc, "passwd"), []byte(passwd), 0o600),
			os.WriteFile(filepath.Join(etc, "group"), []byte(group), 0o600)); err != nil {
			t.Fatal(err)
		}
		if u, err := FindUser(root, spec); err == nil && (u.UID < 0 || u.GID < 0) {
			t.Errorf("%q: %+v", strings.ToValidUTF8(spec, "?"), u)
		}
	})
}
