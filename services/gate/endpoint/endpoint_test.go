package endpoint

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keelson/services/control"
	"keelson/services/gate/keys"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]address{
		"tcp://192.0.2.1:7443":          {scheme: "tcp", host: "192.0.2.1:7443", name: "192.0.2.1"},
		"tcp://[2001:db8::1]:7443":      {scheme: "tcp", host: "[2001:db8::1]:7443", name: "2001:db8::1"},
		"tcp://box.example:1":           {scheme: "tcp", host: "box.example:1", name: "box.example"},
		"vsock://3:7443":                {scheme: "vsock", cid: 3, port: 7443},
		"vsock://4294967294:4294967295": {scheme: "vsock", cid: 4294967294, port: 4294967295},
		"unix:/run/vm/gate":             {scheme: "unix", path: "/run/vm/gate"},
		"unix:gate":                     {scheme: "unix", path: "gate"},
	} {
		if got, err := parse(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "box", "box:7443", "https://box:7443", "tcp:box:7443", "tcp://box", "tcp://:7443", "tcp://box:", "tcp://box:0", "tcp://box:70000", "tcp://box:https",
		"tcp://a/b:1", "tcp://a@b:1", "tcp://a b:1", "vsock://:1", "vsock://x:1", "vsock://3:0", "vsock://-1:1", "unix:", "serial:x",
	} {
		if a, err := parse(text); err == nil || !strings.Contains(err.Error(), "cannot use endpoint") {
			t.Errorf("%s: %+v, %v", text, a, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"tcp://192.0.2.1:7443", "tcp://[::1]:1", "vsock://3:1", "unix:/x", "tcp://a/b:1", "tcp://%41:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := parse(text)
		if err == nil && a.scheme == tcpScheme && (a.name == "" || strings.ContainsAny(a.name, "/@ \n")) {
			t.Errorf("%q is the host %q", text, a.name)
		}
	})
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	a, err := keys.Init(dir)
	if err == nil {
		err = errors.Join(a.Client("anna", control.Admin, time.Hour, ""), a.Client("brief", control.Admin, time.Nanosecond, ""))
	}
	if err != nil {
		t.Fatal(err)
	}
	good := func(name string) Config {
		f := keys.FilesOf(dir, name)
		return Config{"tcp://localhost:7443", f.CA, f.Cert, f.Key, ""}
	}
	noCA, wrongCA, noKey, wrongKey, expired, nowhere := good("anna"), good("anna"), good("anna"), good("anna"), good("brief"), good("anna")
	noCA.CA, wrongCA.CA, noKey.Key, wrongKey.Key = filepath.Join(dir, "none"), noKey.Key, "", good("brief").Key
	for name, c := range map[string]Config{"cannot read the certificate": noCA, "no certificate in PEM": wrongCA, "certificate of the client": noKey, "private key does not match": wrongKey, "has expired": expired} {
		if _, _, err := Open(c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	nowhere.Address = "unix:" + filepath.Join(dir, "none")
	client, closer, err := Open(nowhere)
	if err != nil {
		t.Fatal(err)
	}
	defer closer()
	if _, err := client.Call(t.Context(), control.Request{Verb: control.List}); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), nowhere.Address) {
		t.Error(err)
	}
}
