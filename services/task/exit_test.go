package task

import "testing"

func TestExitInWords(t *testing.T) {
	for _, tt := range []struct {
		exit Exit
		want string
		ok   bool
	}{
		{Exit{}, "exited 0", true}, {Exit{Code: 128}, "exited 128", false}, {Exit{Code: 139}, "killed by SIGSEGV", false},
		{Exit{Code: 137, OOM: true}, "killed by SIGKILL (out of memory)", false}, {Exit{Code: 165}, "killed by signal 37", false},
		{Exit{Code: 255}, "exited 255", false}, {Exit{Unknown: true}, "exited, status unknown", false},
	} {
		if tt.exit.String() != tt.want || tt.exit.Success() != tt.ok {
			t.Errorf("%+v: %q, %v", tt.exit, tt.exit, tt.exit.Success())
		}
	}
}
