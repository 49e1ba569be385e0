package bundle

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func TestResourceLimits(t *testing.T) {
	const all = `{"devices":[{"allow":false,"access":"rwm"}],"memory":{"limit":1,"swap":2},"cpu":{"shares":3,"cpus":"0","mems":"0"},
		"pids":{"limit":4},"blockIO":{"weight":10},"hugepageLimits":[{"pageSize":"2MB","limit":5}],"network":{"classID":6},
		"rdma":{"mlx":{"hcaHandles":7}},"unified":{"memory.high":"8","cpuset.cpus":"0","cgroup.freeze":"0","nonsense.max":"1"}}`
	for text, want := range map[string]string{
		`{}`:                           "",
		`{"devices":[{"allow":true}]}`: "",
		all: "linux.resources.blockIO io, linux.resources.cpu.cpus cpuset, linux.resources.cpu.mems cpuset, linux.resources.cpu.shares cpu, " +
			"linux.resources.hugepageLimits hugetlb, linux.resources.memory.limit memory, linux.resources.memory.swap memory, linux.resources.pids.limit pids, " +
			"linux.resources.rdma rdma, linux.resources.unified.cpuset.cpus cpuset, linux.resources.unified.memory.high memory",
	} {
		var r specs.LinuxResources
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, l := range ResourceLimits(&r) {
			got = append(got, l.field()+" "+l.Controller)
		}
		if got := strings.Join(got, ", "); got != want {
			t.Errorf("%s:\n%s, want\n%s", text, got, want)
		}
	}
	if got := ResourceLimits(nil); got != nil {
		t.Errorf("%v", got)
	}
}

func TestWithoutController(t *testing.T) {
	got := WithoutController([]ResourceLimit{{[]string{"memory", "limit"}, "memory"}, {[]string{"memory", "swap"}, "memory"}, {[]string{"pids", "limit"}, "pids"}})
	if len(got) != 2 || !strings.HasPrefix(got[0], "linux.resources.memory.limit, linux.resources.memory.swap ignored: the kernel has no cgroup controller memory (") {
		t.Errorf("%s", fmt.Sprint(got))
	}
}
