package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime"

	"keelson/runtime/logs/reader"
	"keelson/runtime/paths"
	"keelson/runtime/procfs"
	"keelson/runtime/timeline"
	"keelson/runtime/toolbox"
	"keelson/runtime/version"
	"keelson/services/containerd"
	"keelson/services/control"
	"keelson/services/debug"
	"keelson/services/events"
	"keelson/services/execute"
	"keelson/services/metrics"
	"keelson/services/session"
)

// measured returns what the supervisor knows of the services, for metrics.
type measured func() ([]metrics.Service, error)

// inspected returns the configuration of a service.
type inspected func(name string) (control.Inspection, error)

// located returns where a service runs.
type located func(name string) (control.Container, error)

// api returns the server of the control API.
func api(h control.Handler, journal *events.Journal, services measured, inspect inspected, find located, log *slog.Logger) *control.Server {
	sources := control.Sources{Usages: func() (control.Usages, error) { return usages(services) }, Boot: boot, Inspect: inspect, Programs: programsState}
	more := append(sources.Routes(), control.EventsRoute(journal), metricsRoute(services), control.BootsRoute(reader.System()), control.LogsRoute(session.NewStarter(log).Handler(logsSession)), // Readers of logs take no place of a shell.
		control.ExecRoute(find, session.NewStarter(log).Handler(execSession)), control.DebugRoute(find, debugHandler(log)), control.RescueRoute(machineItself(), debugHandler(log)),
		securityRoute(session.NewStarter(log).Handler(securitySession)))
	more = append(more, networkRoutes(session.NewStarter(log))...)
	return &control.Server{Handler: h, Logger: log, More: more}
}

// boot returns the timeline of the boot.
func boot() (control.Boot, error) {
	all, err := timeline.Read(timeline.Path)
	return control.Boot{Events: append([]timeline.Event{}, all...)}, err
}

// usages returns what the kernel counts for services that run.
func usages(services measured) (control.Usages, error) {
	all, err := services()
	u := control.Usages{At: timeline.Now(), CPUs: runtime.NumCPU(), Services: []control.Usage{}}
	if err != nil {
		return u, err
	}
	if m, err := procfs.ReadMemory("/proc"); err == nil { // Else it is unknown.
		u.Memory = &control.Memory{Total: m.Total, Available: m.Available}
	}
	metrics.Read(all)
	for _, s := range all {
		if s.Cgroup != "" {
			u.Services = append(u.Services, control.Usage{
				Name: s.Name, CPUSeconds: s.Usage.CPU, Memory: s.Usage.Memory, MemoryPeak: s.Usage.MemoryPeak, MemoryLimit: s.Usage.MemoryLimit,
				Processes: s.Usage.Processes, ProcessesLimit: s.Usage.ProcessesLimit, OOMKills: s.Usage.OOMKills,
			})
		}
	}
	return u, nil
}

// Names of sessions.
const (
	logsSession  = "logs"
	execSession  = "exec"
	debugSession = "debug"

	securitySession = "security"
	networkSession  = "network"
	planSession     = "network-plan"
)

// debugHandler starts sessions of debug. A session that is killed leaves tools.
func debugHandler(log *slog.Logger) http.HandlerFunc {
	handle := session.NewStarter(log).Handler(debugSession)
	return func(w http.ResponseWriter, r *http.Request) {
		handle(w, r)
		sweepTools(log)
	}
}

// machineItself is where the rescue shell runs: beside PID 1, whose child the supervisor is.
func machineItself() control.Container {
	return control.Container{Service: "the machine", PID: os.Getppid(), Machine: true}
}

// sweepTools removes what sessions of debug that were killed have left.
func sweepTools(log *slog.Logger) {
	if err := toolbox.Sweep(); err != nil {
		log.Error("cannot remove tools that debug has left", "error", err)
	}
}

// serveSession serves one request of a client in a process of its own.
func serveSession(ctx context.Context, args []string, _ io.Writer) (int, error) {
	handlers := map[string]http.Handler{logsSession: control.LogsHandler(reader.System()), execSession: execute.Handler(paths.ContainerdSocket), debugSession: debug.Handler(), securitySession: http.HandlerFunc(securityHandler),
		networkSession: http.HandlerFunc(networkHandler), planSession: http.HandlerFunc(planHandler)}
	handler, ok := handlers[args[0]]
	if !ok {
		return control.CodeUsage, fmt.Errorf("there are no sessions of kind %q", args[0])
	}
	if err := session.Serve(ctx, handler); err != nil {
		return control.CodeFailed, err
	}
	return control.CodeOK, nil
}

// metricsRoute answers with metrics. The boot and containerd may be unknown.
func metricsRoute(services measured) control.Route {
	return control.Route{Method: http.MethodGet, Path: "/metrics", Role: control.Reader, Answer: control.Text{}, Handle: func(w http.ResponseWriter, _ *http.Request) {
		all, err := services()
		if err != nil {
			control.Fail(w, http.StatusServiceUnavailable, err)
			return
		}
		boot, _ := timeline.Read(timeline.Path)
		daemon, _ := containerd.Daemon(paths.ContainerdSocket)
		text, err := metrics.Gather(all, boot, version.String(), daemon).Encode()
		if err != nil {
			control.Fail(w, http.StatusInternalServerError, err)
			return
		}
		control.Send(w, http.StatusOK, metrics.MediaType, text)
	}}
}
