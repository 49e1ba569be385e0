package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"time"

	"keelson/netcfg/config"
	"keelson/netcfg/plan"
	"keelson/runtime/network"
)

// Serve answers for plans on a Unix socket until ctx ends. Who may connect is decided by the
// permissions of its folder.
func (d *Daemon) Serve(ctx context.Context, socket string) error {
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("cannot answer for plans: %w", err)
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		_ = l.Close()
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+network.PlanPath, func(w http.ResponseWriter, _ *http.Request) { d.answer(w, d.current()) })
	mux.HandleFunc("POST "+network.PlanPath, d.planOf)
	server := &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// planOf answers with the plan of the file in the body.
func (d *Daemon) planOf(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, config.Limit))
	var c config.Config
	if err == nil {
		c, err = config.Parse(text, "the file")
	}
	if err != nil {
		send(w, network.Plan{Error: err.Error()})
		return
	}
	d.answer(w, c)
}

// answer answers with the plan of a configuration.
func (d *Daemon) answer(w http.ResponseWriter, c config.Config) {
	state, err := d.Kernel.Read()
	own := plan.NewOwn()
	if err == nil {
		own, err = d.record()
	}
	if err != nil {
		send(w, network.Plan{Error: err.Error()})
		return
	}
	own.Prune(state)
	p := plan.Plan(c, state, own)
	answer := network.Plan{Changes: []string{}, Missing: p.Missing, Problems: p.Problems, Notes: c.Notes}
	for _, change := range p.Changes {
		answer.Changes = append(answer.Changes, change.String())
	}
	send(w, answer)
}

// record reads the record, which belongs to Run, from its file.
func (d *Daemon) record() (plan.Own, error) {
	reader := Daemon{Dir: d.Dir, Log: d.Log}
	err := reader.readOwn()
	return reader.own, err
}

func send(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // The client may have gone.
}
