package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"keelson/runtime/version"
	verbs "keelson/services/cli"
)

// manPagesCmd is for make man.
type manPagesCmd struct {
	Dir string `arg:"" type:"path" help:"Folder to write to."`
}

// Run writes the manual pages of keelson, and of the verbs of keelson ctl.
func (c *manPagesCmd) Run(k *kong.Kong) error {
	seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	for name, text := range manPages(k.Model, time.Unix(seconds, 0), version.String()) {
		if err := os.WriteFile(filepath.Join(c.Dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// manPages returns all pages by the names of their files.
func manPages(model *kong.Application, date time.Time, version string) map[string]string {
	pages := (&verbs.App{Name: "keelson ctl"}).ManPages(date, version)
	maps.Copy(pages, map[string]string{"keelson.1": manPage(model, date, version)})
	return pages
}

// manPage returns the manual page of keelson(1), in the macros of man(7).
func manPage(model *kong.Application, date time.Time, version string) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH KEELSON 1 %s %s\n", date.UTC().Format(time.DateOnly), verbs.RoffQuoted("keelson "+version))
	b.WriteString(".SH NAME\nkeelson \\- build, boot and measure images whose init is keelson\n.SH SYNOPSIS\n.B keelson\nCOMMAND [OPTION…] [ARGUMENT…]\n.SH COMMANDS\n")
	for _, n := range model.Leaves(true) {
		fmt.Fprintf(&b, ".SS %s\n%s\n", verbs.RoffQuoted(n.Summary()), verbs.Roff(n.Help))
		manFlags(&b, n.Flags)
		for _, p := range n.Positional {
			fmt.Fprintf(&b, ".TP\n.I %s\n%s\n", verbs.Roff(p.Summary()), verbs.Roff(p.Help))
		}
	}
	var common []*kong.Flag
	for _, n := range model.Leaves(true) {
		for p := n.Parent; p != nil && p != model.Node; p = p.Parent {
			common = appendNew(common, p.Flags)
		}
	}
	b.WriteString(".SH OPTIONS OF KEELSON CTL\n")
	manFlags(&b, common)
	b.WriteString(".SH EXIT STATUS\n.TP\n.B 0\nsuccess\n.TP\n.B 1\nfailure, or check finds problems\n.TP\n.B 80\nthe command line is wrong\n")
	b.WriteString(".SH SEE ALSO\n.BR keelson\\-ctl (8)\n")
	return b.String()
}

// appendNew appends flags that are not in a list.
func appendNew(all, more []*kong.Flag) []*kong.Flag {
	for _, f := range more {
		if !slices.Contains(all, f) {
			all = append(all, f)
		}
	}
	return all
}

func manFlags(b *strings.Builder, flags []*kong.Flag) {
	for _, f := range flags {
		if f.Hidden {
			continue
		}
		fmt.Fprintf(b, ".TP\n.B %s\n%s\n", verbs.Roff(f.String()), verbs.Roff(f.Help))
	}
}
