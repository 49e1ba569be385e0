package tests

import (
	"flag"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kballard/go-shellquote"

	"keelson/testvm/vm/vmtest"
)

var updateUsing = flag.Bool("using.update", false, "write what the commands of docs/using.md print to it")

const usingFile = "../../docs/using.md"

// The blocks of docs/using.md show what the commands in them print: lines that begin with # are
// commands, "…" stands for further lines.
const (
	usingBegin  = "```console\n"
	usingEnd    = "```\n"
	usingPrompt = "# "
	usingMore   = "…\n"
)

// shownLines is how many lines of a long output the document has.
const (
	shownLines   = 18
	longestShown = 26
)

// checkUsing runs the commands of docs/using.md in a machine, and compares what they print with
// the document, but for times, numbers and the order of lines. All verbs are in the document.
func checkUsing(t *testing.T, v *vmtest.VM) {
	text, err := os.ReadFile(usingFile)
	if err != nil {
		t.Fatal(err)
	}
	var updated strings.Builder
	rest := string(text)
	for {
		before, block, found := strings.Cut(rest, usingBegin)
		updated.WriteString(before)
		if !found {
			break
		}
		updated.WriteString(usingBegin)
		block, rest, _ = strings.Cut(block, usingEnd)
		for _, c := range commandsOf(block) {
			got := runUsing(t, v, c.line)
			updated.WriteString(usingPrompt + c.line + "\n" + shorten(got))
			if *updateUsing {
				continue
			}
			compareUsing(t, c, got)
		}
		updated.WriteString(usingEnd)
	}
	if *updateUsing {
		if err := os.WriteFile(usingFile, []byte(updated.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, verb := range verbsOf(v.Output("/usr/bin/service", "help")) {
		if !regexp.MustCompile(`(?m)^# service (help |-v )?` + verb + `\b`).MatchString(updated.String()) {
			t.Errorf("%s does not show %s", usingFile, verb)
		}
	}
}

// usingCommand is a command of the document and what it prints.
type usingCommand struct{ line, output string }

func commandsOf(block string) (all []usingCommand) {
	for line := range strings.Lines(block) {
		if command, ok := strings.CutPrefix(line, usingPrompt); ok {
			all = append(all, usingCommand{line: strings.TrimSpace(command)})
		} else if len(all) > 0 {
			all[len(all)-1].output += line
		}
	}
	return all
}

// shorten returns an output as the document has it.
func shorten(output string) string {
	lines := strings.SplitAfter(strings.TrimRight(output, "\n")+"\n", "\n")
	lines = lines[:len(lines)-1]
	if output == "" {
		return ""
	}
	if len(lines) > longestShown {
		lines = append(lines[:shownLines], usingMore)
	}
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return b.String()
}

// compareUsing reports lines of the document that a command does not print, and the reverse
// unless the document has only a part.
func compareUsing(t *testing.T, c usingCommand, got string) {
	t.Helper()
	documented, more := strings.CutSuffix(c.output, usingMore)
	want, have := normal(documented), normal(got)
	for _, line := range want {
		if !slices.Contains(have, line) {
			t.Errorf("%s has for %q the line %q, which is not printed:\n%s", usingFile, c.line, line, got)
		}
	}
	for _, line := range have {
		if !more && !slices.Contains(want, line) {
			t.Errorf("%q prints %q, which %s does not have (go test ./testvm/tests -run TestSystem -using.update)", c.line, line, usingFile)
		}
	}
}

var (
	usingBar     = regexp.MustCompile(`[.#]{24}`)
	usingMark    = regexp.MustCompile(` \* `)
	usingVersion = regexp.MustCompile(`(keelson|service) ([0-9a-f]{7,}|v?[0-9][0-9.]*|unknown)(-\S+)?`)
	usingNumber  = regexp.MustCompile(`[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z|[0-9a-f]{12,}|([0-9][0-9.:,]*(KiB|MiB|GiB|B|ms|h|m|s|d)?)+`)
	usingDash    = regexp.MustCompile(` -( |$)`)
	usingLetters = regexp.MustCompile(`\s+`)
)

// normal returns the lines of an output without what differs between two boots: times, numbers,
// bars, the critical path, and the order.
func normal(output string) (lines []string) {
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		line = usingBar.ReplaceAllString(line, "BAR")
		line = usingMark.ReplaceAllString(line, " ")
		line = usingVersion.ReplaceAllString(line, "$1 N")
		line = usingNumber.ReplaceAllString(line, "N")
		for usingDash.MatchString(line) {
			line = usingDash.ReplaceAllString(line, " N$1")
		}
		line = strings.TrimSpace(usingLetters.ReplaceAllString(line, " "))
		if line != "" && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return lines
}

// runUsing runs a command of the document, which may fail, and returns what it prints.
func runUsing(t *testing.T, v *vmtest.VM, line string) string {
	t.Helper()
	args, err := shellquote.Split(line)
	if err != nil {
		t.Fatal(err)
	}
	args[0] = "/usr/bin/" + args[0]
	r, err := v.Exec(vmtest.Context(t), args...)
	if err != nil {
		t.Fatal(err)
	}
	return string(r.Stdout) + string(r.Stderr)
}

// verbsOf returns the verbs of the overview.
func verbsOf(help string) (verbs []string) {
	for _, found := range regexp.MustCompile(`(?m)^  ([a-z]+)  +[a-z]`).FindAllStringSubmatch(help, -1) {
		verbs = append(verbs, found[1])
	}
	return verbs
}

// What differs between two boots is no difference, everything else is.
func TestNormal(t *testing.T) {
	same := normal("redis  running  302  1h2m3s  0  3.5MiB  -\n 0.5s ...........#############  onboot 000-a\n")
	if other := normal("\n 11ms * #########...............  onboot 000-a\nredis    running 9 0.1s 0 - 12KiB\n"); len(other) != 2 || !slices.Contains(same, other[0]) || !slices.Contains(same, other[1]) {
		t.Errorf("%q, %q", same, other)
	}
	if other := normal("redis  failed  302  1h2m3s  0  3.5MiB  -\n"); slices.Contains(same, other[0]) {
		t.Errorf("%q", other)
	}
	for _, version := range []string{"0123456", "abcdefa-dirty", "v1.2.3-4-gabcdef0", "unknown"} {
		if got := normal("service " + version + " (go1.26.8 linux/amd64)"); len(got) != 1 || got[0] != "service N (goN linux/amdN)" {
			t.Errorf("%s: %q", version, got)
		}
	}
	if got := verbsOf("See:\n  boot        print\n  list  list\n\nOptions:\n  -v, --verbose  print\n"); !slices.Equal(got, []string{"boot", "list"}) {
		t.Errorf("%q", got)
	}
	c := commandsOf("# service list\na\nb\n# service boot\n")
	if len(c) != 2 || c[0].output != "a\nb\n" || c[1].line != "service boot" {
		t.Errorf("%+v", c)
	}
	if got := shorten(strings.Repeat("x \n", longestShown+1)); strings.Count(got, "x\n") != shownLines || !strings.HasSuffix(got, usingMore) {
		t.Errorf("%q", got)
	}
}
