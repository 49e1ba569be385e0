package probe

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestNotifySocketIn(t *testing.T) {
	for environ, want := range map[string]string{
		"A=b\x00NOTIFY_SOCKET=/run/systemd/notify\x00NOTIFY_SOCKET=@keelson/it/X\x00": "@keelson/it/X",
		"NOTIFY_SOCKET=/dev/keelson/notify\x00NOTIFY_SOCKET=@other":                   "/dev/keelson/notify",
		"NOTIFY_SOCKET=notify\x00XNOTIFY_SOCKET=/dev/keelson/notify":                  "",
		"": "",
	} {
		if got := notifySocketIn(environ); got != want {
			t.Errorf("%q: %q, want %q", environ, got, want)
		}
	}
}

func FuzzNotifySocketIn(f *testing.F) {
	f.Add("A=b\x00NOTIFY_SOCKET=/dev/keelson/notify\x00NOTIFY_SOCKET=@keelson/it/X")
	f.Add("\x00\x00=\x00NOTIFY_SOCKET=")
	f.Fuzz(func(t *testing.T, environ string) {
		got := notifySocketIn(environ)
		if got != "" && !strings.HasPrefix(got, "@keelson/") && (!filepath.IsAbs(got) || filepath.Base(got) != notifyName) {
			t.Errorf("%q in %q", got, environ)
		}
	})
}
