package bundle

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		section string
		names   []string
		want    string // error of the last name
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

func TestCheckName(t *testing.T) {
	for _, tt := range []struct {
		section, name string
		good          bool
	}{
		{"services", "a", true}, {"services", "a.b_c-d", true}, {"services", strings.Repeat("a", 76), true},
		{"services", strings.Repeat("a", 77), false}, {"services", "a--b", false}, {"services", "-a", false},
		{"services", "a b", false}, {"services", "é", false}, {"services", "a+b", false},
		{"onboot", "000-a", true}, {"onboot", "a--b+c_", true}, {"onboot", "a b", false}, {"onshutdown", "a:b", false},
		{"onboot", strings.Repeat("a", 200), true}, {"onboot", strings.Repeat("a", 240), false},
	} {
		var bad ErrBadName
		err := CheckName(tt.section, tt.name)
		if added := NewNames(tt.section).Add(tt.name); (added == nil) != (err == nil) {
			t.Errorf("%s %q: CheckName %v, Add %v", tt.section, tt.name, err, added)
		}
		if (err == nil) != tt.good || err != nil && (!errors.As(err, &bad) || bad.Name != tt.name || !strings.Contains(err.Error(), tt.name)) {
			t.Errorf("%s %q: %v", tt.section, tt.name, err)
		}
	}
}
