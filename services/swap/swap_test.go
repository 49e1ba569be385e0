package swap

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
)

// want has every cell of the table, as state, event, next state and actions.
const want = `
accepted begin replacing arm-late replace
replacing up probation arm-probation verify
replacing down restoring disarm reject restore
replacing gone restoring disarm restore
replacing late restoring reject restore
probation down restoring disarm reject restore
probation gone restoring disarm restore
probation passed verifying await-verified
probation damaged restoring disarm reject restore
probation unverified restoring disarm restore
verifying down restoring disarm reject restore
verifying gone restoring disarm restore
verifying verified committing commit
verifying damaged restoring disarm reject restore
verifying unverified restoring disarm restore
committing recorded committed
committing unrecorded restoring restore
restoring up aborting abort
restoring down aborting abort
restoring gone aborting abort
aborting recorded restored
aborting unrecorded restored
`

const wantRemoval = `
accepted begin replacing stop
replacing up aborting abort
replacing down aborting abort
replacing gone committing commit
committing recorded committed
committing unrecorded restoring start
restoring up aborting abort
restoring down aborting abort
restoring gone aborting abort
aborting recorded restored
aborting unrecorded restored
`

const wantOverlap = `
accepted begin beside arm-late start-beside
beside up probation arm-probation verify
beside down discarding disarm reject discard
beside gone discarding disarm discard
beside late discarding reject discard
probation down discarding disarm reject discard
probation gone discarding disarm discard
probation passed verifying await-verified
probation damaged discarding disarm reject discard
probation unverified discarding disarm discard
verifying down discarding disarm reject discard
verifying gone discarding disarm discard
verifying verified switching stop-old
verifying damaged discarding disarm reject discard
verifying unverified discarding disarm discard
switching alone committing promote commit
switching down discarding reject discard start
switching gone discarding discard
committing recorded committed
committing unrecorded restoring restore
discarding alone aborting abort
restoring up aborting abort
restoring down aborting abort
restoring gone aborting abort
aborting recorded restored
aborting unrecorded restored
`

func TestEveryCell(t *testing.T) {
	for name, tt := range map[string]struct {
		on   func(State, Event) Next
		want string
	}{"swap": {On, want}, "overlap": {OnOverlap, wantOverlap}, "removal": {OnRemoval, wantRemoval}} {
		var got []string
		for _, s := range States() {
			for _, e := range Events() {
				next := tt.on(s, e)
				if next.State == s && next.Actions == nil {
					continue
				}
				line := string(s) + " " + string(e) + " " + string(next.State)
				for _, a := range next.Actions {
					line += " " + string(a)
				}
				got = append(got, line)
			}
		}
		expect := strings.Split(strings.TrimSpace(tt.want), "\n")
		slices.Sort(got)
		slices.Sort(expect)
		if !slices.Equal(got, expect) {
			t.Errorf("%s:\n%s\nwant:\n%s", name, strings.Join(got, "\n"), strings.Join(expect, "\n"))
		}
	}
}

// Whatever happens to a swap that has begun, an end follows: each state that has not ended
// has an event that leads on, and none leads back.
func TestEnds(t *testing.T) {
	for _, on := range []func(State, Event) Next{On, OnOverlap, OnRemoval} {
		for i, s := range States() {
			for _, e := range Events() {
				next := on(s, e)
				if j := slices.Index(States(), next.State); j < i {
					t.Errorf("%s on %s: back to %s", s, e, next.State)
				}
				if s.Ended() && next.State != s {
					t.Errorf("%s has ended, but %s follows %s", s, next.State, e)
				}
			}
		}
	}
}

// A new version becomes current by Commit alone, and an old one stays current only after
// Abort has removed the record of the swap.
func TestEndsAreRecorded(t *testing.T) {
	for _, on := range []func(State, Event) Next{On, OnOverlap, OnRemoval} {
		for _, s := range States() {
			for _, e := range Events() {
				next := on(s, e)
				if next.State == s {
					continue
				}
				if got := slices.Contains(next.Actions, Commit); got != (next.State == Committing) {
					t.Errorf("%s on %s: %v", s, e, next)
				}
				if got := slices.Contains(next.Actions, Abort); got != (next.State == Aborting) {
					t.Errorf("%s on %s: %v", s, e, next)
				}
				if next.State == Committed && s != Committing || next.State == Restored && s != Aborting {
					t.Errorf("%s on %s: %v", s, e, next)
				}
			}
		}
	}
}

var update = flag.Bool("update", false, "write the diagram into the documentation")

// The documentation contains the diagram. To update it:
// go test ./services/swap -args -update
func TestDocumentation(t *testing.T) {
	const path = "../../docs/swap.md"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := string(text)
	for name, diagram := range map[string]string{"diagram": Diagram(), "overlap": OverlapDiagram()} {
		begin, end := "<!-- begin "+name+" -->\n", "<!-- end "+name+" -->\n"
		before, rest, found := strings.Cut(want, begin)
		_, after, ended := strings.Cut(rest, end)
		if !found || !ended {
			t.Fatalf("%s has no place for the %s", path, name)
		}
		want = before + begin + "```mermaid\n" + diagram + "```\n" + end + after
	}
	if want == string(text) {
		return
	}
	if !*update {
		t.Errorf("%s does not show the table as it is; run: go test ./services/swap -args -update", path)
	} else if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
		t.Error(err)
	}
}
