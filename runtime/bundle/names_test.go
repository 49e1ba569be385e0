package bundle

import (
	"errors"
	"fmt"
	"testing"
)

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		section string
		names   []string
		want    string // of the last
	}{
		{"services", []string{"x", "x"}, ""},
		{"services", []string{"x", "x.log", "x.log.1", "xout"}, ""},
		{"services", []string{"x", "x.out"}, "services x and x.out share the file /var/log/x.out.log: rename one of them"},
		{"services", []string{"x.out", "x"}, "services x.out and x share the file /var/log/x.out.log: rename one of them"},
		{"services", []string{"containerd"}, "services containerd itself and containerd share the file /var/log/containerd.log: rename one of them"},
		{"services", []string{"containerd.out"}, ""},
		{"onboot", []string{"000-x", "001-x.out"}, ""},
		{"onboot", []string{"x", "x.out"}, "onboot x and x.out share the file /var/log/onboot/onboot.x.out.log: rename one of them"},
		{"onshutdown", []string{"x.runtime", "x"}, "onshutdown x.runtime and x share the file /var/log/onshutdown/shutdown.x.runtime.log: rename one of them"},
		{"onboot", []string{"containerd"}, ""},
	} {
		n := NewNames(tt.section)
		var err error
		for _, name := range tt.names {
			err = n.Add(name)
		}
		if got := fmt.Sprint(err); got != tt.want && (err != nil || tt.want != "") {
			t.Errorf("%s %v: %s", tt.section, tt.names, got)
		}
		var clash ErrClash
		if err != nil && (!errors.As(err, &clash) || clash.Name != tt.names[len(tt.names)-1]) {
			t.Errorf("%s %v: %#v", tt.section, tt.names, err)
		}
	}
}
