package metrics

import (
	"fmt"
	"maps"
	"slices"

	dto "github.com/prometheus/client_model/go"

	"keelson/runtime/timeline"
)

// builder collects the samples of one metric family.
type builder struct{ family *dto.MetricFamily }

// sample adds a value with labels: names and values in turn. A nil value adds nothing.
func (b builder) sample(value *float64, labels ...string) {
	if value == nil {
		return
	}
	m := &dto.Metric{}
	for i := 0; i+1 < len(labels); i += 2 {
		m.Label = append(m.Label, &dto.LabelPair{Name: &labels[i], Value: &labels[i+1]})
	}
	if b.family.GetType() == dto.MetricType_COUNTER {
		m.Counter = &dto.Counter{Value: value}
	} else {
		m.Gauge = &dto.Gauge{Value: value}
	}
	b.family.Metric = append(b.family.Metric, m)
}

// set collects metric families in order.
type set struct{ all []*dto.MetricFamily }

func (s *set) add(kind dto.MetricType, name, unit, help string, samples func(builder)) {
	family := &dto.MetricFamily{Name: &name, Help: &help, Type: &kind}
	if unit != "" {
		family.Unit = &unit
	}
	samples(builder{family})
	s.all = append(s.all, family)
}

func (s *set) gauge(name, unit, help string, samples func(builder)) {
	s.add(dto.MetricType_GAUGE, name, unit, help, samples)
}

// counter takes the name with _total, which the encoder expects.
func (s *set) counter(name, unit, help string, samples func(builder)) {
	s.add(dto.MetricType_COUNTER, name, unit, help, samples)
}

func number64[T int | float64](n T) *float64 {
	value := float64(n)
	return &value
}

func truth(b bool) *float64 {
	if b {
		return number64(1)
	}
	return number64(0)
}

// families returns all metrics. docs/metrics.md lists them.
func (s Snapshot) families() []*dto.MetricFamily {
	var all set
	all.gauge("keelson_build_info", "", "Version of keelson; the value is 1.", func(b builder) { b.sample(number64(1), "version", s.Version) })
	s.states(&all)
	s.logs(&all)
	s.usage(&all)
	s.pressure(&all)
	s.boot(&all)
	s.own(&all)
	return all.all
}

// each adds one sample for each service.
func (s Snapshot) each(value func(Service) *float64) func(builder) {
	return func(b builder) {
		for _, svc := range s.Services {
			b.sample(value(svc), "service", svc.Name)
		}
	}
}

func (s Snapshot) states(all *set) {
	all.gauge("keelson_service_up", "", "1 if the first process of the service runs.", s.each(func(svc Service) *float64 { return truth(svc.Up) }))
	all.gauge("keelson_service_ready", "", "1 if the service runs and is ready.", s.each(func(svc Service) *float64 { return truth(svc.Ready) }))
	all.gauge("keelson_service_state", "", "1 for the state that the service is in.", func(b builder) {
		for _, svc := range s.Services {
			b.sample(number64(1), "service", svc.Name, "state", svc.State)
		}
	})
	all.counter("keelson_service_restarts_total", "", "Restarts by the supervisor since the boot.", s.each(func(svc Service) *float64 { return number64(svc.Restarts) }))
	all.counter("keelson_service_exits_total", "", "Containers of the service that ended since the boot, by reason.", func(b builder) {
		for _, svc := range s.Services {
			for _, reason := range slices.Sorted(maps.Keys(svc.Exits)) {
				b.sample(number64(svc.Exits[reason]), "service", svc.Name, "reason", reason)
			}
		}
	})
	all.gauge("keelson_service_start_duration_seconds", "seconds", "How long the last start took, until the first process ran.", s.each(func(svc Service) *float64 {
		if svc.Start <= 0 {
			return nil
		}
		return number64(svc.Start.Seconds())
	}))
}

func (s Snapshot) logs(all *set) {
	all.counter("keelson_service_log_bytes_total", "bytes", "Output of the service that its log files got.", s.each(func(svc Service) *float64 { return number64(float64(svc.LogBytes)) }))
	all.counter("keelson_service_log_lost_bytes_total", "bytes", "Output of the service that its log files could not take.", s.each(func(svc Service) *float64 { return number64(float64(svc.LogLost)) }))
}

func (s Snapshot) usage(all *set) {
	all.counter("keelson_service_cpu_seconds_total", "seconds", "Processor time of the cgroup, in user and kernel mode.", s.each(func(svc Service) *float64 { return svc.Usage.CPU }))
	all.counter("keelson_service_cpu_mode_seconds_total", "seconds", "Processor time of the cgroup by mode.", func(b builder) {
		for _, svc := range s.Services {
			b.sample(svc.Usage.CPUUser, "service", svc.Name, "mode", "user")
			b.sample(svc.Usage.CPUSystem, "service", svc.Name, "mode", "system")
		}
	})
	all.gauge("keelson_service_memory_bytes", "bytes", "Memory of the cgroup, with caches of files.", s.each(func(svc Service) *float64 { return svc.Usage.Memory }))
	all.gauge("keelson_service_memory_peak_bytes", "bytes", "Largest value of keelson_service_memory_bytes since the start.", s.each(func(svc Service) *float64 { return svc.Usage.MemoryPeak }))
	all.gauge("keelson_service_memory_limit_bytes", "bytes", "Limit of the memory of the cgroup, if there is one.", s.each(func(svc Service) *float64 { return svc.Usage.MemoryLimit }))
	all.counter("keelson_service_oom_kills_total", "", "Processes that the kernel killed for lack of memory since the start.", s.each(func(svc Service) *float64 { return svc.Usage.OOMKills }))
	all.gauge("keelson_service_processes", "", "Processes and threads of the cgroup.", s.each(func(svc Service) *float64 { return svc.Usage.Processes }))
	all.gauge("keelson_service_processes_limit", "", "Limit of processes and threads, if there is one.", s.each(func(svc Service) *float64 { return svc.Usage.ProcessesLimit }))
}

func (s Snapshot) pressure(all *set) {
	all.counter("keelson_service_pressure_seconds_total", "seconds", "For how long some or all tasks of the service have waited for a resource.", func(b builder) {
		for _, svc := range s.Services {
			for _, p := range svc.Usage.Pressure {
				b.sample(&p.Seconds, "service", svc.Name, "resource", p.Resource, "share", p.Share)
			}
		}
	})
}

// boot adds the stages of the boot. Of those that happen several times with one name, such
// as a service that is started again, the first one counts.
func (s Snapshot) boot(all *set) {
	seen := map[[2]string]bool{}
	var events []timeline.Event
	for _, e := range s.Boot {
		if key := [2]string{e.Stage, e.Name}; !seen[key] {
			seen[key] = true
			events = append(events, e)
		}
	}
	all.gauge("keelson_boot_stage_seconds", "seconds", "When a stage of the boot ended, since the start of the kernel.", func(b builder) {
		for _, e := range events {
			b.sample(number64(e.At.Seconds()), "stage", e.Stage, "name", e.Name)
		}
	})
	all.gauge("keelson_boot_stage_duration_seconds", "seconds", "How long a stage of the boot took.", func(b builder) {
		for _, e := range events {
			if e.Took > 0 {
				b.sample(number64(e.Took.Seconds()), "stage", e.Stage, "name", e.Name)
			}
		}
	})
}

// own adds keelson's own processes.
func (s Snapshot) own(all *set) {
	all.counter("keelson_process_cpu_seconds_total", "seconds", "Processor time of a process of keelson.", func(b builder) {
		for _, p := range s.Processes {
			b.sample(&p.CPU, "process", p.Name, "pid", fmt.Sprint(p.PID))
		}
	})
	all.gauge("keelson_process_resident_memory_bytes", "bytes", "Resident memory of a process of keelson, with shared pages.", func(b builder) {
		for _, p := range s.Processes {
			b.sample(&p.Resident, "process", p.Name, "pid", fmt.Sprint(p.PID))
		}
	})
}
