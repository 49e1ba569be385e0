package userspace

import (
	"reflect"
	"strings"
	"testing"
)

// What PID 1 passes on is what its children read.
func TestVariables(t *testing.T) {
	for _, tc := range []struct {
		env  Environment
		owns bool
	}{
		{Machine(), true}, {Environment{}, false}, {Environment{CmdLine: "a b"}, false},
		{Environment{Own: []string{Mount, UTS}, CmdLine: "x"}, true}, {Environment{Own: []string{Mount}}, false},
	} {
		t.Setenv(variable, "")
		t.Setenv(CmdLineVariable, "")
		for _, v := range tc.env.Variables() {
			name, value, _ := strings.Cut(v, "=")
			t.Setenv(name, value)
		}
		if got := Read(); !reflect.DeepEqual(got, tc.env) || got.Owns(UTS) != tc.owns {
			t.Errorf("%+v became %+v", tc.env, got)
		}
	}
}
