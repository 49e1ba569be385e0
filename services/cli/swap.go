package cli

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/pflag"

	"keelson/services/control"
	"keelson/services/versions"
)

// changeFlags are the options of verbs that replace versions.
type changeFlags struct {
	force, plan, programs bool
	probation             time.Duration
}

func (o *changeFlags) add(f *pflag.FlagSet, force bool) {
	f.BoolVar(&o.plan, "plan", false, "only show what would change")
	if force {
		f.BoolVarP(&o.force, "force", "f", false, "accept also a version that failed before")
	}
	f.BoolVar(&o.programs, "programs", false, "replace containerd, the shim, runc and the supervisor under running services, in place of NAME")
	f.DurationVar(&o.probation, "probation", 0, "let --programs be on trial for `TIME` (30s; at most 40s)")
}

// check returns a function that checks the number of arguments: --programs takes the place of a name.
func (o *changeFlags) check(names int) func([]string) error {
	return func(args []string) error {
		want := names
		if o.programs {
			want--
		}
		switch {
		case o.probation != 0 && !o.programs:
			return errors.New("--probation is only for --programs: services have an annotation")
		case len(args) > want && o.programs:
			return fmt.Errorf("unexpected argument %q: --programs takes the place of NAME", args[0])
		case len(args) < want && (o.programs || len(args) > 0):
			return errors.New("no artifact is named")
		case len(args) < want:
			return errors.New("no service is named")
		}
		return nil
	}
}

// swap replaces a service by an artifact: a file, a folder or standard input.
func (a *App) swap() Verb {
	var o changeFlags
	v := Verb{
		Use: "swap NAME ARTIFACT", Group: Change, Short: "replace a service by a bundle artifact or a container image", Max: 2, Names: ServiceFile, Codes: []int{control.CodeNotFound},
		Long: "ARTIFACT is an OCI layout: a file, a folder, or - for standard input. A version that does not\n" +
			"become ready, or fails in its probation, is replaced by the one before (docs/swap.md).",
		Example: "swap --plan redis redis.tar.zst   # show what would change\n" +
			"swap redis redis.tar.zst          # replace it; the result comes after the probation\n" +
			"swap -f redis -                   # read the artifact from standard input\n" +
			"swap --programs programs.tar.zst  # replace keelson's own programs",
		Flags: func(f *pflag.FlagSet) { o.add(f, true) },
		check: o.check(2),
	}
	v.Run = func(ctx context.Context, args []string) (int, error) {
		r := control.Request{Verb: control.Swap, Force: o.force, Plan: o.plan, Programs: o.programs, Probation: o.probation}
		what := "the programs"
		if !o.programs {
			r.Names, what = args[:1], args[0]
		}
		body, err := a.openArtifact(args[len(args)-1])
		if err != nil {
			return control.CodeFailed, fmt.Errorf("cannot swap %s: %w", what, err)
		}
		defer body.Close()
		r.Body = body
		return a.change(ctx, r)
	}
	return v
}

// rollback replaces a service by its previous version.
func (a *App) rollback() Verb {
	var o changeFlags
	return Verb{
		Use: "rollback NAME", Group: Change, Short: "replace a service by its previous version", Max: 1, Names: ServiceNames, Codes: []int{control.CodeNotFound},
		Example: "rollback --plan redis  # show what would change\nrollback redis         # bring the version before back",
		Flags:   func(f *pflag.FlagSet) { o.add(f, false) },
		check:   o.check(1),
		Run: func(ctx context.Context, names []string) (int, error) {
			return a.change(ctx, control.Request{Verb: control.Rollback, Names: names, Plan: o.plan, Programs: o.programs, Probation: o.probation})
		},
	}
}

// remove stops a service, and forgets it or masks that of the image.
func (a *App) remove() Verb {
	var plan bool
	return Verb{
		Use: "remove NAME", Group: Change, Short: "stop a service that was added, or mask one of the image", Min: 1, Max: 1, Names: ServiceNames, Codes: []int{control.CodeNotFound},
		Example: "remove redis    # stop it; it is not started at the next boot either\nrollback redis  # bring it back",
		Flags:   func(f *pflag.FlagSet) { f.BoolVar(&plan, "plan", false, "only show what would change") },
		Run: func(ctx context.Context, names []string) (int, error) {
			return a.change(ctx, control.Request{Verb: control.Remove, Names: names, Plan: plan})
		},
	}
}

// change sends a request that changes a version, and shows its progress.
func (a *App) change(ctx context.Context, r control.Request) (int, error) {
	if r.Programs {
		return a.changePrograms(ctx, r)
	}
	r.Progress = func(text string) { fmt.Fprintf(a.Out, "%s: %s\n", r.Names[0], text) }
	response, err := a.Client.Call(ctx, r)
	if err != nil {
		return control.CodeFailed, a.explain(err)
	}
	for _, line := range response.Plan {
		fmt.Fprintf(a.Out, "%s: %s\n", r.Names[0], line)
	}
	if response.Error != "" {
		return a.failed(ctx, response, r.Names)
	}
	if r.Plan {
		return control.CodeOK, nil
	}
	fmt.Fprintf(a.Out, "%s: %s committed\n", r.Names[0], r.Verb)
	if response.Note != "" {
		fmt.Fprintf(a.Out, "%s: %s\n", r.Names[0], response.Note)
	}
	return control.CodeOK, nil
}

// openArtifact opens an artifact as a stream: a folder as a tar of it, - as standard input.
func (a *App) openArtifact(path string) (io.ReadCloser, error) {
	if path == "-" {
		return io.NopCloser(a.In), nil
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
func (a *App) diff() Verb {
	var asJSON bool
	return Verb{
		Use: "diff", Group: Look, Short: "list the services that differ from the image",
		Example: "diff         # name, change, version, since when, by whom\ndiff --json  # for programs",
		Flags: func(f *pflag.FlagSet) {
			f.BoolVar(&asJSON, "json", false, "print an array of Difference (docs/api.yaml)")
		},
		Run: func(ctx context.Context, _ []string) (int, error) {
			r, err := a.Client.Call(ctx, control.Request{Verb: control.Diff})
			if err != nil {
				return control.CodeFailed, a.explain(err)
			}
			if r.Error != "" {
				return a.failed(ctx, r, nil)
			}
			if asJSON {
				return control.CodeOK, a.printJSON(append([]control.Difference{}, r.Changes...))
			}
			return control.CodeOK, a.differences(r.Changes)
		},
	}
}

func (a *App) differences(all []control.Difference) error {
	t := table{{plain("NAME"), plain("CHANGE"), plain("VERSION"), plain("PREVIOUS"), plain("SINCE"), plain("BY")}}
	for _, d := range all {
		version := short(d.Version)
		if d.Image != "" {
			version += " (" + d.Image + ")"
		}
		t.row(d.Name, d.Change, version, short(d.Previous), d.Since.UTC().Format(time.RFC3339), cmp.Or(d.By, "-"))
	}
	return a.print(t)
}

// short shortens a digest for a column.
func short(digest string) string {
	if t, err := versions.TargetOf(digest); err == nil {
		return t.String()
	}
	return cmp.Or(digest, "-")
}
