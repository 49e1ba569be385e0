package programs

import "testing"

func TestAdopts(t *testing.T) {
	const module = "containerd github.com/containerd/containerd"
	for _, tc := range []struct {
		answer, before string
		ok             bool
	}{
		{module + "/v2 2.4.2+unknown abc", module + "/v2 v2.1.4 def", true},
		{module + " v1.7.28 abc", module + "/v2 2.4.2+unknown", false},
		{module + "/v2 2.4.2", module + " v1.7.28", false},
		{module + " 1.7.28", module + " 1.6.20", true},
		{"something else", module + " 1.6.20", true}, // The trial shows.
		{module + "/v2 2.4.2", "", true},
	} {
		if err := adopts(tc.answer, tc.before); (err == nil) != tc.ok {
			t.Errorf("%q after %q: %v", tc.answer, tc.before, err)
		}
	}
}
