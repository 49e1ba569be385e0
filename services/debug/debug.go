package debug

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"keelson/runtime/bundle"
	"keelson/runtime/toolbox"
	"keelson/services/control"
	"keelson/services/execute"
	"keelson/services/versions"
)

// Handler runs tools for a client of the control API, in a process of its own: see package session. They are
// killed when the client has closed the connection, or the service ends.
func Handler() http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var container control.Container
		if err := json.Unmarshal([]byte(r.Header.Get(control.ContainerHeader)), &container); err != nil {
			control.Fail(w, http.StatusInternalServerError, fmt.Errorf("cannot read the container: %w", err))
			return
		}
		d, err := control.ParseDebug(r.URL.Query())
		if err != nil {
			control.Fail(w, http.StatusBadRequest, err)
			return
		}
		tools, err := find(d.With)
		if err != nil {
			status := http.StatusConflict
			if errors.Is(err, errNoBundle) {
				status = http.StatusNotFound
			}
			control.Fail(w, status, err)
			return
		}
		t := toolbox.Tools{Bundle: tools, PID: container.PID, Machine: container.Machine, Args: program(d.Args, tools), Env: d.Env, Terminal: d.Terminal, Width: d.Size.Width, Height: d.Size.Height}
		execute.Attach(w, r, d.Exec, func(ctx context.Context, s execute.Streams, sizes <-chan control.TerminalSize) (int, error) {
			return run(ctx, container.Service, t, s, sizes)
		})
	}
}

// errNoBundle is returned for a bundle that does not exist.
var errNoBundle = errors.New("there is no bundle")

// find returns the bundle with tools of a name; without a name, that of the rescue shell.
func find(name string) (*bundle.Bundle, error) {
	return findIn(name, bundle.ServicesDir, bundle.RescueDir, versions.New(versions.Dir))
}

func findIn(name, services, rescue string, store *versions.Store) (*bundle.Bundle, error) {
	if name == "" {
		b, err := bundle.FindRescueIn(services, rescue)
		if b == nil && err == nil {
			err = errors.New("the image has no tools for debugging: no bundle has the annotation keelson.role: rescue; name another one with --with")
		}
		if b != nil { // Others that cannot be read do not matter.
			err = nil
		}
		return b, err
	}
	if name != filepath.Base(name) || name == "." || name == ".." || name == "/" {
		return nil, fmt.Errorf("%w %.64q", errNoBundle, name)
	}
	b, err := store.LoadCurrent(services, name)
	if b != nil || err != nil {
		return b, err
	}
	if _, err := os.Stat(filepath.Join(rescue, name)); err == nil {
		return bundle.Load(filepath.Join(rescue, name))
	}
	return nil, fmt.Errorf("%w %.64q: --with takes the name of a service, or of a bundle in %s", errNoBundle, name, rescue)
}

// program returns the program to run and its arguments: by default a shell, which only a rescue shell names.
func program(args []string, tools *bundle.Bundle) []string {
	if len(args) > 0 {
		return args
	}
	rescue := tools.Settings.Role == bundle.RoleRescue || filepath.Dir(tools.Dir) == bundle.RescueDir
	if process := tools.Spec.Process; rescue && process != nil && len(process.Args) > 0 {
		return process.Args
	}
	return []string{"sh"}
}

// run runs tools until the first one has ended, and returns its exit code.
func run(ctx context.Context, service string, t toolbox.Tools, s execute.Streams, sizes <-chan control.TerminalSize) (code int, err error) {
	ended := fmt.Errorf("%s has ended", service)
	p, err := t.Start()
	if errors.Is(err, toolbox.ErrEnded) {
		return 1, ended
	}
	if err != nil {
		return 1, &execute.NotStartedError{Err: err}
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	ctx, cancel := context.WithCancelCause(ctx)
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer cancel(nil)
	helpers.Go(func() {
		if p.WaitForEnd(ctx) {
			cancel(ended)
		}
	})
	stop := context.AfterFunc(ctx, p.Kill)
	output := connect(ctx, p, s, sizes)
	code, err = p.Wait()
	output.Wait()
	stop()
	if code > 128 && p.Ended() {
		return code, ended
	}
	if cause := context.Cause(ctx); cause != nil {
		return code, cause
	}
	return code, err
}

// connect copies between the streams of tools and those of a client. The group ends with the output.
func connect(ctx context.Context, p *toolbox.Process, s execute.Streams, sizes <-chan control.TerminalSize) *sync.WaitGroup {
	output := &sync.WaitGroup{}
	copyOut := func(from *os.File, to io.Writer) {
		output.Go(func() {
			if _, err := io.Copy(to, from); err != nil { // Of a terminal that nobody has open: EIO.
				_, _ = io.Copy(io.Discard, from)
			}
		})
	}
	input := p.Stdin
	if p.Terminal != nil {
		input = p.Terminal
		copyOut(p.Terminal, s.Out)
		go resize(ctx, p, sizes)
	} else {
		copyOut(p.Stdout, s.Out)
		copyOut(p.Stderr, s.Err)
	}
	go func() {
		if s.In != nil {
			_, _ = io.Copy(input, s.In)
			if pipe, ok := s.In.(*io.PipeReader); ok { // Its writer does not wait for tools that read no more.
				_ = pipe.Close()
			}
		}
		if p.Terminal == nil {
			_ = p.Stdin.Close()
		}
	}()
	return output
}

// resize gives the terminal of tools the sizes that arrive.
func resize(ctx context.Context, p *toolbox.Process, sizes <-chan control.TerminalSize) {
	for {
		select {
		case size := <-sizes:
			if size != (control.TerminalSize{}) {
				_ = p.Resize(size.Width, size.Height) // They may have ended.
			}
		case <-ctx.Done():
			return
		}
	}
}
