package bundle

import (
	"fmt"
	"testing"
)

func TestCgroupClash(t *testing.T) {
	n := NewNames("services")
	for _, tt := range []struct{ name, configured, want string }{
		{"a", "/pods", ""},
		{"a", "/pods", ""},
		{"b", "/pods/x", ""},
		{"c", "", ""},
		{"d", "/pods/../pods/", "services a and d share the cgroup /pods: set another cgroupsPath for one of them"},
		{"e", "c", "services c and e share the cgroup /c: set another cgroupsPath for one of them"},
		{"f", "/pods/keelson.own", "service f has the cgroup /pods/keelson.own, but the name keelson.own is reserved: set another cgroupsPath for it"},
		{"k", "/keelson.core", `service k has the cgroup "/keelson.core": this is the cgroup of keelson itself: set another cgroupsPath for it`},
		{"k", "x/../keelson.core/k", `service k has the cgroup "/keelson.core/k": this is the cgroup of keelson itself: set another cgroupsPath for it`},
		{"k", "/x/keelson.core", ""},
		{"g", "/x/..", `service g has the cgroup "/": a path below the root cgroup is needed: set another cgroupsPath for it`},
		{"cgroup.procs", "", `service cgroup.procs has the cgroup "/cgroup.procs": ` + refuseCgroup("cgroup.procs") + ": set another cgroupsPath for it"},
		{"a", "/other", ""}, // its cgroup was changed
		{"d", "/pods", ""},
		{"a", "/pods", "services d and a share the cgroup /pods: set another cgroupsPath for one of them"},
	} {
		err := n.AddCgroup(tt.name, CgroupPath(tt.configured, tt.name))
		if got := fmt.Sprint(err); got != tt.want && (err != nil || tt.want != "") {
			t.Errorf("%s at %q: %s, want %s", tt.name, tt.configured, got, tt.want)
		}
	}
}

func TestCgroupsOfOnshutdown(t *testing.T) {
	const why = ", and they run at the same time: set another cgroupsPath for one of them"
	n := NewNames("services")
	for _, tt := range []struct{ kind, name, path, want string }{
		{"late", "000-x", "/000-x", ""},
		{"late", "001-y", "/000-x", ""}, // one after the other
		{"late", "002-z", "/z/z", ""},
		{"service", "a", "/pods", ""},
		{"service", "b", "/z", "onshutdown 002-z has the cgroup /z/z, service b has /z" + why},
		{"late", "003-p", "/pods", "onshutdown 003-p has the cgroup /pods, service a has /pods" + why},
		{"late", "004-p", "/pods/p", "onshutdown 004-p has the cgroup /pods/p, service a has /pods" + why},
		{"late", "005-p", "/podsy", ""},
		{"service", "c", "/z/z/c", "onshutdown 002-z has the cgroup /z/z, service c has /z/z/c" + why},
	} {
		add := n.AddCgroup
		if tt.kind == "late" {
			add = n.AddShutdownCgroup
		}
		if got := fmt.Sprint(add(tt.name, tt.path)); got != tt.want && (got != "<nil>" || tt.want != "") {
			t.Errorf("%s at %s: %s, want %s", tt.name, tt.path, got, tt.want)
		}
	}
}
