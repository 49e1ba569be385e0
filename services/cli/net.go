package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"keelson/runtime/network"
	"keelson/runtime/timeline"
	"keelson/services/control"
)

// NetworkSource says where the verb net gets what it shows.
type NetworkSource struct {
	Read func(ctx context.Context) (network.Network, error)
	// Plan returns the plan of a file, or of the one in use if it is nil.
	Plan func(ctx context.Context, file []byte) (network.Plan, error)
}

// planLimit is the size of the largest file of which a plan is made, in bytes.
const planLimit = 1 << 20

// NetVerb returns the verb that shows the network.
func (a *App) NetVerb(source NetworkSource) Verb {
	var asJSON, plan bool
	return Verb{
		Use: "net [FILE]", Group: Look, Short: "show links, addresses, routes, leases and name servers, or what a configuration would change",
		Max: 1, Names: OtherNames,
		Long: "With --plan, it shows the changes that are open, or those that FILE would bring (- is\n" +
			"the standard input), and makes none. docs/network.md describes the file.",
		Example: "net                    # the network as it is\nnet --plan netcfg.yml  # what this file would change",
		Flags: func(f *pflag.FlagSet) {
			f.BoolVar(&plan, "plan", false, "show changes, and make none")
			f.BoolVar(&asJSON, "json", false, "print an object")
		},
		check: func(args []string) error {
			if len(args) > 0 && !plan {
				return errors.New("a FILE needs --plan: the file that is used is /etc/netcfg.yml of the image")
			}
			return nil
		},
		Run: func(ctx context.Context, args []string) (int, error) {
			if plan {
				return a.plan(ctx, source, args, asJSON)
			}
			n, err := source.Read(ctx)
			switch {
			case err != nil && len(n.Links) == 0:
				return control.CodeFailed, fmt.Errorf("net: %w", err)
			case asJSON:
				err = errors.Join(err, PrintJSON(a.Out, n))
			default:
				err = errors.Join(err, a.printNetwork(n))
			}
			if err != nil {
				return control.CodeFailed, err
			}
			return control.CodeOK, nil
		},
	}
}

// plan prints a plan.
func (a *App) plan(ctx context.Context, source NetworkSource, args []string, asJSON bool) (int, error) {
	var file []byte
	if len(args) > 0 {
		text, err := readPlanned(a.In, args[0])
		if err != nil {
			return control.CodeFailed, err
		}
		file = text
	}
	p, err := source.Plan(ctx, file)
	if err == nil && p.Error != "" {
		name := "the file"
		if len(args) > 0 && args[0] != "-" {
			name = args[0]
		}
		err = errors.New(strings.ReplaceAll(p.Error, "the file:", name+":"))
	}
	if err != nil {
		return control.CodeFailed, fmt.Errorf("net: %w", err)
	}
	if asJSON {
		return control.CodeOK, PrintJSON(a.Out, p)
	}
	for _, c := range p.Changes {
		fmt.Fprintln(a.Out, timeline.OneLine(c))
	}
	if len(p.Changes) == 0 {
		fmt.Fprintln(a.Out, "nothing to change")
	}
	a.printList("not there, and configured when they appear:", p.Missing)
	a.printList("not possible:", p.Problems)
	a.printList("without effect:", p.Notes)
	return control.CodeOK, nil
}

func readPlanned(in io.Reader, name string) ([]byte, error) {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, planLimit+1))
	if err == nil && len(text) > planLimit {
		err = fmt.Errorf("%s has more than %d bytes", name, planLimit)
	}
	return append([]byte{}, text...), err
}

// printList prints lines below a title, or nothing.
func (a *App) printList(title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintln(a.Out, title)
	for _, line := range lines {
		fmt.Fprintln(a.Out, "  "+timeline.OneLine(line))
	}
}

// printNetwork prints the network.
func (a *App) printNetwork(n network.Network) error {
	links := table{titles("LINK", "STATE", "KIND", "MTU", "ADDRESS", "FROM")}
	for _, l := range n.Links {
		style := good
		switch l.State {
		case network.StateDown:
			style = noStyle
		case network.StateNoCarrier:
			style = warn
		}
		rows := linkRows(l)
		if len(rows) == 0 {
			rows = [][2]string{{"-", "-"}}
		}
		for i, r := range rows {
			if i == 0 {
				links.row(l.Name, cell{l.State, style}, cmp.Or(l.Kind, "-"), l.MTU, r[0], r[1])
			} else {
				links.row("", "", "", "", r[0], r[1])
			}
		}
	}
	err := a.print(links)
	if len(n.Routes) > 0 {
		fmt.Fprintln(a.Out)
		routes := table{titles("ROUTE", "BY")}
		for _, r := range n.Routes {
			routes.row(r.Text, r.By)
		}
		err = errors.Join(err, a.print(routes))
	}
	fmt.Fprintf(a.Out, "\nname servers: %s\n", timeline.OneLine(cmp.Or(strings.Join(n.DNS, " "), "none")))
	if len(n.Search) > 0 {
		fmt.Fprintf(a.Out, "search: %s\n", timeline.OneLine(strings.Join(n.Search, " ")))
	}
	if d := n.Daemon; d != nil {
		a.printList(d.File+" is not used:", d.Errors)
		a.printList("refused by the kernel, and tried again:", d.Failed)
		a.printList("not there, and configured when they appear:", d.Missing)
		a.printList("not possible:", d.Problems)
	}
	return err
}

// linkRows returns the addresses of a link, and the leases without one of them, each with where it
// is from.
func linkRows(l network.Link) (rows [][2]string) {
	for _, address := range l.Addresses {
		from := "-"
		for _, lease := range l.Leases {
			if lease.Address == address.Prefix {
				from = strings.TrimSpace(fmt.Sprintf("DHCPv%d %s", lease.Family, lease.Server))
			}
		}
		if address.Note != "" {
			from = strings.TrimPrefix(from+", "+address.Note, "-, ")
		}
		if address.ValidFor > 0 {
			from = strings.TrimPrefix(fmt.Sprintf("%s, for %s", from, time.Duration(address.ValidFor)*time.Second), "-, ")
		}
		if address.PreferredFor > 0 {
			from = strings.TrimPrefix(fmt.Sprintf("%s, preferred for %s", from, time.Duration(address.PreferredFor)*time.Second), "-, ")
		}
		rows = append(rows, [2]string{address.Prefix, from})
	}
	for _, lease := range l.Leases {
		for _, p := range lease.Prefixes {
			from := "delegated"
			if lease.ValidFor > 0 {
				from += fmt.Sprintf(", for %s", time.Duration(lease.ValidFor)*time.Second)
			}
			rows = append(rows, [2]string{p, from})
		}
	}
	return rows
}

// net is the verb for a system elsewhere.
func (a *App) net() Verb {
	return a.NetVerb(NetworkSource{
		Read: func(ctx context.Context) (n network.Network, err error) {
			return n, a.explainRefusal(a.Client.Get(ctx, control.NetworkPath, nil, &n))
		},
		Plan: func(ctx context.Context, file []byte) (p network.Plan, err error) {
			if file != nil {
				return p, errors.New("a plan of another file is made only on the machine itself")
			}
			return p, a.explainRefusal(a.Client.Get(ctx, control.NetworkPlanPath, nil, &p))
		},
	})
}

// explainRefusal explains an error other than a refusal, which says itself what is wrong.
func (a *App) explainRefusal(err error) error {
	if refused := (*control.RefusedError)(nil); err == nil || errors.As(err, &refused) {
		return err
	}
	return a.explain(err)
}
