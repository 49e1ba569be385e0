package main

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"keelson/services/control"
	"keelson/services/versions"
)

// swap replaces a service by an artifact: a file, a folder or standard input.
func swap(ctx context.Context, inv invocation) (int, error) {
	if inv.programs {
		return changePrograms(ctx, inv, control.Swap)
	}
	name, path := inv.names[0], inv.names[1]
	body, err := openArtifact(path)
	if err != nil {
		return control.CodeFailed, fmt.Errorf("cannot swap %s: %w", name, err)
	}
	defer body.Close()
	return change(ctx, inv, control.Request{Verb: control.Swap, Names: []string{name}, Force: inv.force, Plan: inv.plan}, body)
}

// rollback replaces a service by its previous version.
func rollback(ctx context.Context, inv invocation) (int, error) {
	if inv.programs {
		return changePrograms(ctx, inv, control.Rollback)
	}
	return change(ctx, inv, control.Request{Verb: control.Rollback, Names: inv.names, Plan: inv.plan}, nil)
}

// remove stops a service, and forgets it or masks that of the image.
func remove(ctx context.Context, inv invocation) (int, error) {
	return change(ctx, inv, control.Request{Verb: control.Remove, Names: inv.names, Plan: inv.plan}, nil)
}

// change sends a request that changes the version of a service, and shows its progress.
func change(ctx context.Context, inv invocation, r control.Request, body io.Reader) (int, error) {
	r.Body = body
	r.Progress = func(text string) { fmt.Fprintf(inv.out, "%s: %s\n", r.Names[0], text) }
	response, err := control.Call(ctx, control.SocketPath, r)
	if err != nil {
		return control.CodeFailed, explain(err)
	}
	for _, line := range response.Plan {
		fmt.Fprintf(inv.out, "%s: %s\n", r.Names[0], line)
	}
	if response.Error != "" {
		return max(response.Code, control.CodeFailed), errors.New(response.Error)
	}
	if r.Plan {
		return control.CodeOK, nil
	}
	fmt.Fprintf(inv.out, "%s: %s committed\n", r.Names[0], r.Verb)
	if !versions.New(versions.Dir).Lasts() {
		fmt.Fprintf(inv.out, "%s: %s is in memory: after a reboot the image's own version runs\n", r.Names[0], versions.Dir)
	}
	return control.CodeOK, nil
}

// openArtifact opens an artifact as a stream: a folder as a tar of it, - as standard input.
func openArtifact(path string) (io.ReadCloser, error) {
	if path == "-" {
		return io.NopCloser(os.Stdin), nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return os.Open(path)
	}
	r, w := io.Pipe()
	go func() {
		archive := tar.NewWriter(w)
		w.CloseWithError(errors.Join(archive.AddFS(os.DirFS(path)), archive.Close()))
	}()
	return r, nil
}

// diff lists the services that differ from the image.
func diff(ctx context.Context, inv invocation) (int, error) {
	r, err := control.Call(ctx, control.SocketPath, control.Request{Verb: control.Diff})
	if err != nil {
		return control.CodeFailed, explain(err)
	}
	if r.Error != "" {
		return max(r.Code, control.CodeFailed), errors.New(r.Error)
	}
	if inv.json {
		if r.Changes == nil {
			r.Changes = []control.Difference{}
		}
		return control.CodeOK, printJSON(inv, r.Changes)
	}
	w := tabwriter.NewWriter(inv.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tCHANGE\tVERSION\tPREVIOUS\tSINCE\tBY")
	for _, d := range r.Changes {
		version := short(d.Version)
		if d.Image != "" {
			version += " (" + d.Image + ")"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", d.Name, d.Change, version, short(d.Previous),
			d.Since.UTC().Format(time.RFC3339), cmp.Or(d.By, "-"))
	}
	return control.CodeOK, w.Flush()
}

// short shortens a digest for a column.
func short(digest string) string {
	if t, err := versions.TargetOf(digest); err == nil {
		return t.String()
	}
	return cmp.Or(digest, "-")
}
