package main

import (
	"log/slog"
	"net/http"

	"keelson/runtime/paths"
	"keelson/runtime/timeline"
	"keelson/runtime/version"
	"keelson/services/containerd"
	"keelson/services/control"
	"keelson/services/events"
	"keelson/services/metrics"
)

// measured returns what the supervisor knows of the services, for metrics.
type measured func() ([]metrics.Service, error)

// api returns the server of the control API.
func api(h control.Handler, journal *events.Journal, services measured, log *slog.Logger) *control.Server {
	return &control.Server{Handler: h, Logger: log, More: []control.Route{control.EventsRoute(journal), metricsRoute(services)}}
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
