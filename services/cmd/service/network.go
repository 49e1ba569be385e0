package main

import (
	"context"
	"errors"
	"net/http"

	"keelson/runtime/network"
	"keelson/services/cli"
	"keelson/services/control"
	"keelson/services/session"
)

// net is the verb that shows the network. It needs no supervisor.
func net(app *cli.App) cli.Verb {
	return app.NetVerb(cli.NetworkSource{Read: func(context.Context) (network.Network, error) { return network.Read() }, Plan: network.Ask})
}

// networkRoutes answer with the network, and with the plan of the network service. Processes of their
// own read them.
func networkRoutes(starter *session.Starter) []control.Route {
	return []control.Route{
		{Method: http.MethodGet, Path: control.NetworkPath, Role: control.Reader, Answer: network.Network{}, Handle: starter.Handler(networkSession)},
		{Method: http.MethodGet, Path: control.NetworkPlanPath, Role: control.Reader, Answer: network.Plan{}, Handle: starter.Handler(planSession)},
	}
}

func networkHandler(w http.ResponseWriter, _ *http.Request) {
	n, err := network.Read()
	if err != nil && len(n.Links) == 0 {
		control.Fail(w, http.StatusInternalServerError, err)
		return
	}
	control.Reply(w, n)
}

func planHandler(w http.ResponseWriter, r *http.Request) {
	p, err := network.Ask(r.Context(), nil)
	switch {
	case errors.Is(err, network.ErrNoService):
		control.Fail(w, http.StatusNotFound, err)
	case err != nil:
		control.Fail(w, http.StatusServiceUnavailable, err)
	default:
		control.Reply(w, p)
	}
}
