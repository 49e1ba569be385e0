package imageconfig

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// full is the configuration of an image that sets everything.
const full = `{"architecture":"amd64","os":"linux","config":{"User":"app","Entrypoint":["/entry"],"Cmd":["arg"],
	"Env":["FROM=image"],"WorkingDir":"/w","StopSignal":"SIGQUIT"},"rootfs":{"type":"layers"}}`

// merged parses an image and merges it with settings that have precedence.
func merged(t *testing.T, first Fields, text string) Fields {
	t.Helper()
	image, label, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return Merge(first, label, image.Fields())
}

func TestMerge(t *testing.T) {
	all := Fields{Command: []string{"/entry", "arg"}, Env: []string{"FROM=image"}, Cwd: "/w", StopSignal: "SIGQUIT"}
	label := strings.Replace(full, `"User"`, `"Labels":{"org.mobyproject.config":"{\"command\":[\"/label\"],\"cwd\":\"/l\",\"capabilities\":[\"all\"]}"},"User"`, 1)
	for name, tt := range map[string]struct {
		first Fields
		image string
		want  Fields
	}{
		"the image's":      {Fields{}, full, all},
		"empty image":      {Fields{}, "{}", Fields{Cwd: "/"}},
		"null":             {Fields{}, `{"config":null}`, Fields{Cwd: "/"}},
		"only arguments":   {Fields{}, `{"config":{"Cmd":["sh"]}}`, Fields{Command: []string{"sh"}, Cwd: "/"}},
		"command given":    {Fields{Command: []string{"/y"}}, full, Fields{[]string{"/y"}, all.Env, "/w", "SIGQUIT"}},
		"nothing in env":   {Fields{Env: []string{}}, full, Fields{all.Command, []string{}, "/w", "SIGQUIT"}},
		"folder given":     {Fields{Cwd: "/y"}, full, Fields{all.Command, all.Env, "/y", "SIGQUIT"}},
		"signal given":     {Fields{StopSignal: "INT"}, full, Fields{all.Command, all.Env, "/w", "INT"}},
		"label":            {Fields{}, label, Fields{[]string{"/label"}, all.Env, "/l", "SIGQUIT"}},
		"given over label": {Fields{Command: []string{"/y"}}, label, Fields{[]string{"/y"}, all.Env, "/l", "SIGQUIT"}},
	} {
		if diff := cmp.Diff(tt.want, merged(t, tt.first, tt.image)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// What a service has is kept by the names of fields.
func TestOnly(t *testing.T) {
	f := Fields{Command: []string{"/x"}, Env: []string{"A=b"}, Cwd: "/w", StopSignal: "INT"}
	if diff := cmp.Diff(f, f.Only(f.Set())); diff != "" || len(f.Set()) != len(Names()) {
		t.Errorf("all of %q: %s", f.Set(), diff)
	}
	for _, name := range Names() {
		if got := f.Only([]string{name}).Set(); !slices.Equal(got, []string{name}) {
			t.Errorf("only %s: %q", name, got)
		}
	}
	if diff := cmp.Diff(Fields{}, f.Only(nil)); diff != "" {
		t.Error(diff)
	}
	if got := (Fields{}).Only([]string{Env}); got.Env == nil { // An environment that is empty is kept too.
		t.Errorf("got %+v", got)
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                            "configuration of the image",
		"[]":                          "configuration of the image",
		`{"config":"x"}`:              "configuration of the image",
		`{"config":{"Env":"A=b"}}`:    "Env",
		`{"config":{"Cmd":[1]}}`:      "Cmd",
		`{"config":{"Labels":["x"]}}`: "Labels",
		`{"config":{"Labels":{"org.mobyproject.config":"command: x"}}}`:          Label,
		`{"config":{"Labels":{"org.mobyproject.config":"{\"command\":\"x\"}"}}}`: Label,
	} {
		if _, _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
	if err := merged(t, Fields{Command: []string{}}, full).Check(); err == nil {
		t.Error("no error for an empty command")
	}
}

// A configuration that is read gives fields that a merge keeps.
func FuzzParse(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte(`{"config":{"Labels":{"org.mobyproject.config":"{\"command\":[\"x\"],\"env\":[]}"}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		image, label, err := Parse(text)
		if err != nil {
			return
		}
		got := Merge(label, image.Fields())
		if got.Cwd == "" {
			t.Error("no working directory")
		}
		if diff := cmp.Diff(got, Merge(got, Fields{Command: []string{"x"}, Env: []string{"x"}, Cwd: "x", StopSignal: "x"}.Only(nil))); diff != "" {
			t.Error(diff)
		}
	})
}
