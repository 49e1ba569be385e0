package metrics

import (
	"bytes"
	"time"

	"github.com/prometheus/common/expfmt"

	"keelson/runtime/timeline"
)

// MediaType is that of the text that Encode returns.
const MediaType = "application/openmetrics-text; version=1.0.0; charset=utf-8"

// Service is what the supervisor knows of a service.
type Service struct {
	Name     string
	State    string
	Up       bool // its first process runs
	Ready    bool // it runs, and is ready if it says so
	Restarts int
	Exits    map[string]int // how often its containers ended, by reason
	Start    time.Duration  // how long the last start took, until the first process ran; 0: there was none
	PID      int            // first process; 0: none
	Cgroup   string         // path of its cgroup; empty: there is none
	LogBytes int64          // that it has printed and its logs got, since the supervisor was started
	LogLost  int64          // that it has printed and its logs did not get, likewise
	Usage    Usage
}

// Snapshot is the state of a system at one time.
type Snapshot struct {
	Services  []Service
	Processes []Process
	Boot      []timeline.Event
	Version   string
}

// cgroupRoot is where hierarchies of cgroups are mounted.
const cgroupRoot = "/sys/fs/cgroup"

// Gather reads what the kernel counts for services and for keelson's processes. containerd
// is the ID of its process, or 0.
func Gather(services []Service, boot []timeline.Event, version string, containerd int) Snapshot {
	s := Snapshot{Services: services, Boot: boot, Version: version}
	cgroups := openHierarchies(cgroupRoot)
	for i, svc := range services {
		if svc.Cgroup != "" {
			services[i].Usage = cgroups.usage(svc.Cgroup)
		}
	}
	s.Processes = readProcesses(containerd, services)
	return s
}

// Read reads what the kernel counts for services, without Pressure.
func Read(services []Service) {
	cgroups := openHierarchies(cgroupRoot)
	cgroups.waits = false
	for i, svc := range services {
		if svc.Cgroup != "" {
			services[i].Usage = cgroups.usage(svc.Cgroup)
		}
	}
}

// Encode returns the snapshot as text.
func (s Snapshot) Encode() ([]byte, error) {
	var text bytes.Buffer
	for _, family := range s.families() {
		if len(family.Metric) == 0 {
			continue
		}
		if _, err := expfmt.MetricFamilyToOpenMetrics(&text, family); err != nil {
			return nil, err
		}
	}
	if _, err := expfmt.FinalizeOpenMetrics(&text); err != nil {
		return nil, err
	}
	return text.Bytes(), nil
}
