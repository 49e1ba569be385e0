package bench

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"keelson/testvm/qemu"
	"keelson/testvm/vm"
)

// Startup is the cost of starting a program of the guest that ends immediately, minus the
// cost of an empty static program.
type Startup struct {
	Path         string        `json:"path"`         // in the guest
	Instructions int64         `json:"instructions"` // mean of several starts, the kernel's share included
	Initialisers []Initialiser `json:"initialisers,omitempty"`
}

// Initialiser is the initialisation of one Go package, as reported by
// GODEBUG=inittrace=1: variables of the package, then its init functions.
type Initialiser struct {
	Package      string `json:"package"`
	Instructions int64  `json:"instructions"`
	Bytes        int64  `json:"bytes"` // allocated
	Allocations  int64  `json:"allocations"`
}

// idle are the guest's programs with arguments that make them do nothing. Programs that the
// guest lacks are ignored.
var idle = []string{
	empty + " true",
	"/init help",
	"/usr/bin/service --help",
	"/usr/bin/containerd --version",
	"/usr/bin/containerd-shim-runc-v2 -v",
	"/usr/libexec/containerd-shim-runc-v2 -v",
	"/usr/bin/runc --version",
}

// empty is the static program that the others are compared with.
const empty = "/bin/busybox"

//go:embed startup.yml
var startupYAML string

// StartupYAML returns the YAML of an image that starts the programs of the guest's root
// tree at guestRoot.
func StartupYAML(guestRoot string) ([]byte, error) {
	yaml, err := around(startupYAML, guestRoot)
	const indent = "\n      "
	return []byte(strings.ReplaceAll(yaml, "PROGRAMS", "start "+strings.Join(idle, indent+"start "))), err
}

// MeasureStartup boots the image of StartupYAML in virtual time.
func MeasureStartup(ctx context.Context, o Options) ([]Startup, error) {
	arch, err := qemu.DetectArch(o.Kernel)
	if err != nil {
		return nil, err
	}
	var all []Startup
	err = boot(ctx, o.machine(arch, 1), func(v *vm.VM) (err error) {
		all, err = parseStartup(v.Console())
		return err
	})
	return all, err
}

// initLine matches the line of Go's runtime about a package (package runtime, environment
// variable GODEBUG, inittrace).
var initLine = regexp.MustCompile(`^init (\S+) @[0-9.]+ ms, ([0-9.]+) ms clock, (\d{1,15}) bytes, (\d{1,15}) allocs$`)

// startups gathers them line by line.
type startups struct {
	all   []Startup
	begun float64 // when the starts of the next one began
	trace bool    // lines about the last one's packages may come
}

// parseStartup reads the marks on a console.
func parseStartup(console string) ([]Startup, error) {
	var s startups
	for line := range strings.Lines(console) {
		if err := s.line(strings.TrimRight(line, "\r\n")); err != nil {
			return nil, err
		}
	}
	if len(s.all) < 2 || s.all[0].Path != empty {
		return nil, errors.New("cannot tell what programs need to start: the marks of an empty one and of others are missing")
	}
	for i := range s.all[1:] {
		s.all[i+1].Instructions -= s.all[0].Instructions
	}
	return s.all[1:], nil
}

func (s *startups) line(line string) error {
	if m := initLine.FindStringSubmatch(line); m != nil && s.trace {
		return s.initialiser(m)
	}
	if path, ok := strings.CutPrefix(line, "keelson-bench: initialisers "); ok {
		s.trace = len(s.all) > 0 && s.all[len(s.all)-1].Path == path
		return nil
	}
	_, k, err := cutKernel(line)
	if err != nil {
		return err
	}
	mark, err := k.mark()
	if err != nil || mark == nil {
		return err
	}
	switch mark[0] {
	case "start":
		s.begun, s.trace = k.at, false
	case "started":
		times, err := strconv.ParseUint(mark[len(mark)-1], 10, 16)
		if err != nil || times == 0 || len(mark) != 3 {
			return fmt.Errorf("cannot read the mark %q: want a path and how often it was started", mark)
		}
		each := (k.at - s.begun) / float64(times)
		s.all = append(s.all, Startup{Path: mark[1], Instructions: int64(math.Round(each * perSecond))})
	}
	return nil
}

// initialiser adds the package of an initLine to the last program.
func (s *startups) initialiser(m []string) error {
	clock, err := strconv.ParseFloat(m[2], 64)
	if err != nil {
		return fmt.Errorf("cannot read the time of %q: %w", m[0], err)
	}
	i := Initialiser{Package: m[1], Instructions: int64(math.Round(clock / 1e3 * perSecond))}
	i.Bytes, _ = strconv.ParseInt(m[3], 10, 64) // The expression lets no others in.
	i.Allocations, _ = strconv.ParseInt(m[4], 10, 64)
	last := &s.all[len(s.all)-1]
	last.Initialisers = append(last.Initialisers, i)
	return nil
}

// initialisers returns the sum over all packages.
func (s Startup) initialisers() (sum Initialiser) {
	for _, i := range s.Initialisers {
		sum.Instructions += i.Instructions
		sum.Bytes += i.Bytes
		sum.Allocations += i.Allocations
	}
	return sum
}

// most returns the n packages whose initialisation takes longest.
func (s Startup) most(n int) []Initialiser {
	list := slices.Clone(s.Initialisers)
	slices.SortStableFunc(list, func(a, b Initialiser) int {
		return cmp.Or(cmp.Compare(b.Instructions, a.Instructions), cmp.Compare(b.Bytes, a.Bytes))
	})
	return list[:min(n, len(list))]
}

// writeStartup prints the cost of starting each program, and the packages that cost most.
func (r *Report) writeStartup(w io.Writer) {
	if len(r.Startup) == 0 {
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\nstart and end\tinstructions\tinitialisers\tallocated\tallocations\tmost (millions of instructions)\n")
	for _, s := range r.Startup {
		var most []string
		for _, i := range s.most(shown) {
			most = append(most, fmt.Sprintf("%s %.2f", i.Package, float64(i.Instructions)/1e6))
		}
		sum := s.initialisers()
		fmt.Fprintf(t, "%s\t%.1f M\t%.1f M\t%.0f kB\t%d\t%s\n", s.Path, float64(s.Instructions)/1e6,
			float64(sum.Instructions)/1e6, float64(sum.Bytes)/1e3, sum.Allocations, strings.Join(most, ", "))
	}
	_ = t.Flush()
}
