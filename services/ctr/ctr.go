package ctr

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/version"
	"keelson/services/containerd"
)

// Main runs the command in args, and returns the exit status: 1 for an error, as ctr does.
func Main(args []string) int {
	code, err := run(args, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "ctr:", err)
		return 1
	}
	return code
}

func run(args []string, out io.Writer) (int, error) {
	inv, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(out, usage)
		return 0, nil
	case err != nil:
		return 1, err
	case inv.verb == "--version":
		fmt.Fprintln(out, "ctr of keelson", version.String())
		return 0, nil
	}
	ctx, cancel := context.Background(), context.CancelFunc(func() {})
	if inv.timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, inv.timeout)
	}
	defer cancel()
	c, err := containerd.Connect(ctx, inv.socket)
	if err != nil {
		return 1, err
	}
	defer c.Close()
	if inv.verb == "tasks exec" {
		return runIn(ctx, c, inv)
	}
	ctx, stop := signal.NotifyContext(ctx, unix.SIGINT, unix.SIGTERM)
	defer stop()
	return 0, do(ctx, c, inv, out)
}

func do(ctx context.Context, c *containerd.Client, inv invocation, out io.Writer) error {
	switch inv.verb {
	case "tasks ls":
		return listTasks(ctx, c, inv, out)
	case "tasks ps":
		return listProcesses(ctx, c, inv, out)
	case "tasks kill":
		return c.Signal(ctx, inv.namespace, inv.id, inv.execID, inv.signal, inv.all)
	case "tasks pause":
		return c.Pause(ctx, inv.namespace, inv.id)
	case "tasks resume":
		return c.Resume(ctx, inv.namespace, inv.id)
	case "containers ls":
		return listContainers(ctx, c, inv, out)
	case "containers info":
		return showContainer(ctx, c, inv, out)
	case "namespaces ls":
		return listNamespaces(ctx, c, inv, out)
	}
	return showVersion(ctx, c, out)
}

// table prints rows in columns, or with quiet only the first column. Padding and trailing
// tabs are those of ctr.
func table(out io.Writer, quiet bool, minWidth, padding int, head string, rows []string) error {
	if quiet {
		for _, row := range rows {
			first, _, _ := strings.Cut(row, "\t")
			fmt.Fprintln(out, first)
		}
		return nil
	}
	w := tabwriter.NewWriter(out, minWidth, 8, padding, ' ', 0)
	fmt.Fprintln(w, head)
	for _, row := range rows {
		fmt.Fprintln(w, row)
	}
	return w.Flush()
}

func listTasks(ctx context.Context, c *containerd.Client, inv invocation, out io.Writer) error {
	tasks, err := c.TaskStatuses(ctx, inv.namespace)
	if err != nil {
		return err
	}
	var rows []string
	for _, t := range tasks {
		rows = append(rows, fmt.Sprintf("%s\t%d\t%s", t.ID, t.PID, t.Status))
	}
	return table(out, inv.quiet, 4, 4, "TASK\tPID\tSTATUS\t", rows)
}

func listProcesses(ctx context.Context, c *containerd.Client, inv invocation, out io.Writer) error {
	processes, err := c.Processes(ctx, inv.namespace, inv.id)
	if err != nil {
		return err
	}
	var rows []string
	for _, p := range processes {
		info := "-"
		if p.ExecID != "" {
			info = fmt.Sprintf("exec_id:%q", p.ExecID)
		}
		rows = append(rows, fmt.Sprintf("%d\t%s", p.PID, info))
	}
	return table(out, false, 1, 4, "PID\tINFO", rows)
}

func listContainers(ctx context.Context, c *containerd.Client, inv invocation, out io.Writer) error {
	containers, err := c.Containers(ctx, inv.namespace)
	if err != nil {
		return err
	}
	var rows []string
	for _, one := range containers {
		image := one.Image
		if image == "" {
			image = "-"
		}
		rows = append(rows, fmt.Sprintf("%s\t%s\t%s\t", one.ID, image, one.Runtime))
	}
	return table(out, inv.quiet, 4, 4, "CONTAINER\tIMAGE\tRUNTIME\t", rows)
}

func listNamespaces(ctx context.Context, c *containerd.Client, inv invocation, out io.Writer) error {
	namespaces, err := c.Namespaces(ctx)
	if err != nil {
		return err
	}
	var rows []string
	for _, n := range namespaces {
		var labels []string
		for _, key := range slices.Sorted(maps.Keys(n.Labels)) {
			labels = append(labels, key+"="+n.Labels[key])
		}
		rows = append(rows, fmt.Sprintf("%s\t%s\t", n.Name, strings.Join(labels, ",")))
	}
	return table(out, inv.quiet, 1, 1, "NAME\tLABELS\t", rows)
}

func showContainer(ctx context.Context, c *containerd.Client, inv invocation, out io.Writer) error {
	one, err := c.Container(ctx, inv.namespace, inv.id)
	if err != nil {
		return err
	}
	var shown any = one.Spec
	if !inv.spec {
		shown = struct {
			ID                   string
			Labels               map[string]string
			Image                string
			Runtime              struct{ Name string }
			SnapshotKey          string
			Snapshotter          string
			CreatedAt, UpdatedAt time.Time
			Spec                 json.RawMessage `json:",omitempty"`
		}{one.ID, one.Labels, one.Image, struct{ Name string }{one.Runtime}, one.Snapshot, one.Snapshotter, one.CreatedAt, one.UpdatedAt, one.Spec}
	}
	e := json.NewEncoder(out)
	e.SetIndent("", "    ")
	return e.Encode(shown)
}

func showVersion(ctx context.Context, c *containerd.Client, out io.Writer) error {
	fmt.Fprintf(out, "Client:\n  Version:  keelson %s\n\n", version.String())
	v, revision, err := c.Version(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "Server:\n  Version:  %s\n  Revision: %s\n", v, revision)
	return err
}
