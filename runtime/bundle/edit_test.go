package bundle

import (
	"encoding/json"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// All of the file stays but what must change, whatever a newer specification adds.
func TestEdited(t *testing.T) {
	yes, no, score := true, false, -5
	for name, tt := range map[string]struct {
		config, want string
		edit         Edit
	}{
		"root alone": {
			`{ "new":{"mask":18446744073709551615,"f":1.50}, "process":{"args":["a"],"later":[1e400]},"root":{"path":"rootfs","why":"}\""}}`,
			`{ "new":{"mask":18446744073709551615,"f":1.50}, "process":{"args":["a"],"later":[1e400]},"root":{"path":"DIR/rootfs","why":"}\""}}`,
			Edit{},
		},
		"process": {
			`{"process":{"args":["a"],"terminal":true,"env":["A=1"]},"root":{"path":"/r"}}`,
			`{"process":{"oomScoreAdj":-5,"args":["a"],"terminal":false,"env":["A=1","B=2"]},"root":{"path":"/r"}}`,
			Edit{Terminal: &no, OOMScoreAdj: &score, Env: []string{"B=2"}},
		},
		"score of its own": {
			`{"process":{"args":["a"],"oomScoreAdj":7,"env":null},"root":{"path":"/r"}}`,
			`{"process":{"terminal":true,"args":["a"],"oomScoreAdj":7,"env":["B=2"]},"root":{"path":"/r"}}`,
			Edit{Terminal: &yes, OOMScoreAdj: &score, Env: []string{"B=2"}},
		},
		"mounts": {
			`{"process":{"args":["a"]},"root":{"path":"/r"},"mounts":[{"destination":"/a","options":["rbind"],"source":"sub","x":1},{"destination":"/b","type":"tmpfs","source":"t"} ]}`,
			`{"process":{"args":["a"]},"root":{"path":"/r"},"mounts":[{"destination":"/a","options":["rbind"],"source":"DIR/sub","x":1},{"destination":"/b","type":"tmpfs","source":"t"} ,{"destination":"/c"}]}`,
			Edit{Mounts: []specs.Mount{{Destination: "/c"}}},
		},
		"no mounts": {
			`{"process":{"args":["a"]},"root":{"path":"/r"},"mounts":[]}`,
			`{"process":{"args":["a"]},"root":{"path":"/r"},"mounts":[{"destination":"/c"}]}`,
			Edit{Mounts: []specs.Mount{{Destination: "/c"}}},
		},
		"letters of either case": {
			`{"Process":{"args":["a"]},"ROOT":{"Path":"r"}}`,
			`{"Process":{"args":["a"]},"ROOT":{"Path":"DIR/r"}}`,
			Edit{},
		},
		"a field that is there twice": {
			`{"root":{"path":"a"},"process":{"args":["a"],"cwd":"/"},"root":{"path":"b"}}`,
			`{"ociVersion":"","process":{"user":{"uid":0,"gid":0},"args":["a"],"cwd":"/"},"root":{"path":"DIR/b"}}`,
			Edit{},
		},
	} {
		b, err := Load(write(t, tt.config, ""))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := b.Edited(tt.edit)
		if want := strings.ReplaceAll(tt.want, "DIR", b.Dir); err != nil || string(got) != want {
			t.Errorf("%s: %v\ngot  %s\nwant %s", name, err, got, want)
		}
	}
}

// Whatever is edited is what the decoded configuration with the same changes is.
func FuzzEdited(f *testing.F) {
	f.Add([]byte(goodConfig))
	f.Add([]byte(`{"root":{"path":"r","\u0070ath":"q"},"process":{"args":["a\\\""],"env":["\"]}"]},"mounts":[{"type":"bind"},null]}`))
	f.Add([]byte(`{"mounts":null,"process":{"args":["a"]} , "root":{"path":"r"}}`))
	f.Fuzz(func(t *testing.T, config []byte) {
		b := &Bundle{Dir: "/b", Spec: &specs.Spec{}, text: config}
		if json.Unmarshal(config, b.Spec) != nil || checkSpec("config.json", b.Spec) != nil {
			t.Skip("no configuration")
		}
		score, no := 3, false
		text, err := b.Edited(Edit{Terminal: &no, OOMScoreAdj: &score, Env: []string{"N=1"}, Mounts: []specs.Mount{{Destination: "/n"}}})
		if err != nil {
			t.Fatalf("%s: %v", config, err)
		}
		var got specs.Spec
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%s became %s: %v", config, text, err)
		}
		want := b.Spec
		want.Root.Path, want.Process.Terminal = b.Rootfs(), false
		if want.Process.OOMScoreAdj == nil {
			want.Process.OOMScoreAdj = &score
		}
		want.Process.Env = append(want.Process.Env, "N=1")
		for i, m := range want.Mounts {
			if isBind(m) && !filepath.IsAbs(m.Source) {
				want.Mounts[i].Source = filepath.Join("/b", m.Source)
			}
		}
		want.Mounts = append(want.Mounts, specs.Mount{Destination: "/n"})
		if !reflect.DeepEqual(&got, want) {
			t.Errorf("%s became %s", config, text)
		}
	})
}
