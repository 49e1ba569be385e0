package machine

import (
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"keelson/runtime/bundle"
)

// want has every cell: rows are states, columns are events, a cell is the next
// state and its actions; a dot means that nothing happens.
const want = `
state      | start                      | stop                         | restart                    | go              | started           | ready         | unhealthy      | retry             | done            | fail            | delay         | timeout
stopped    | waiting check              | .                            | waiting check              | .               | .                 | .             | .              | .                 | .               | .               | .             | .
waiting    | .                          | stopped release              | .                          | starting launch | .                 | .             | .              | .                 | .               | .               | .             | .
starting   | .                          | stopping abort               | restarting abort           | .               | activating probe  | .             | .              | backoff arm-delay | exited release  | failed release  | .             | .
activating | .                          | stopping signal              | restarting signal          | .               | .                 | running watch | failing signal | backoff arm-delay | exited release  | failed release  | .             | .
running    | .                          | stopping signal              | restarting signal          | .               | .                 | .             | failing signal | backoff arm-delay | exited release  | failed release  | .             | .
failing    | .                          | stopping                     | restarting                 | .               | .                 | .             | .              | backoff arm-delay | exited release  | failed release  | .             | failing kill
stopping   | restarting                 | .                            | restarting                 | .               | stopping signal   | .             | .              | stopped release   | stopped release | stopped release | .             | stopping kill
restarting | .                          | stopping                     | .                          | .               | restarting signal | .             | .              | waiting check     | waiting check   | waiting check   | .             | restarting kill
backoff    | waiting cancel-delay check | stopped cancel-delay release | waiting cancel-delay check | .               | .                 | .             | .              | .                 | .               | .               | waiting check | .
exited     | waiting check              | stopped                      | waiting check              | .               | .                 | .             | .              | .                 | .               | .               | .             | .
failed     | waiting check              | stopped                      | waiting check              | .               | .                 | .             | .              | .                 | .               | .               | .             | .
`

func TestEveryCell(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(want), "\n")
	if len(lines) != len(States())+1 {
		t.Fatalf("%d rows for %d states", len(lines)-1, len(States()))
	}
	for i, s := range States() {
		cells := strings.Split(lines[i+1], "|")
		if strings.TrimSpace(cells[0]) != string(s) || len(cells) != len(Events())+1 {
			t.Fatalf("row %q is not the one of %s", lines[i+1], s)
		}
		for j, e := range Events() {
			words := strings.Fields(cells[j+1])
			expect := Next{State: s}
			if words[0] != "." {
				expect.State = State(words[0])
				for _, w := range words[1:] {
					expect.Actions = append(expect.Actions, Action(w))
				}
			}
			if got := On(s, e); !reflect.DeepEqual(got, expect) {
				t.Errorf("%s on %s: %v, want %v", s, e, got, expect)
			}
		}
	}
}

func TestUnknownStateStays(t *testing.T) {
	if got := On("unknown", Start); got.State != "unknown" || got.Actions != nil {
		t.Errorf("got %v", got)
	}
}

// From every state a stop leads to a settled state, with any event in between.
func TestStopAlwaysEnds(t *testing.T) {
	for _, s := range States() {
		next := On(s, Stop).State
		if next == Stopping {
			next = On(next, Fail).State
		}
		if !next.Settled() {
			t.Errorf("%s after stop and its end: %s", s, next)
		}
	}
}

// The documentation contains the table. To update it:
// go test ./services/machine -args -update
func TestDocumentation(t *testing.T) {
	const path = "../../docs/supervision.md"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := string(text)
	for mark, part := range map[string]string{"table": Table(), "diagram": "```mermaid\n" + Diagram() + "```\n"} {
		begin, end := "<!-- begin "+mark+" -->\n", "<!-- end "+mark+" -->\n"
		before, rest, found := strings.Cut(want, begin)
		_, after, ended := strings.Cut(rest, end)
		if !found || !ended {
			t.Fatalf("%s has no place for the %s", path, mark)
		}
		want = before + begin + part + end + after
	}
	if want == string(text) {
		return
	}
	if !*update {
		t.Errorf("%s does not show the table of states as it is; run: go test ./services/machine -args -update", path)
	} else if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
		t.Error(err)
	}
}

var update = flag.Bool("update", false, "write the table into the documentation")

func TestAfterExit(t *testing.T) {
	for _, tt := range []struct {
		restart string
		success bool
		want    Event
	}{
		{bundle.RestartOnFailure, true, Done}, {bundle.RestartOnFailure, false, Retry},
		{bundle.RestartAlways, true, Retry}, {bundle.RestartAlways, false, Retry},
		{bundle.RestartNever, true, Done}, {bundle.RestartNever, false, Fail},
	} {
		s := bundle.Settings{Restart: tt.restart}
		if got := AfterExit(s, &History{}, tt.success, 0, 0); got != tt.want {
			t.Errorf("%s, success %v: %s, want %s", tt.restart, tt.success, got, tt.want)
		}
	}
}

func TestFailuresInARow(t *testing.T) {
	s, h := bundle.Defaults(), &History{}
	for i, tt := range []struct {
		up   time.Duration
		want int
	}{{0, 1}, {time.Second, 2}, {9 * time.Second, 3}, {10 * time.Second, 1}, {0, 2}} {
		AfterExit(s, h, false, tt.up, 0)
		if h.Failures != tt.want {
			t.Errorf("step %d: %d failures, want %d", i, h.Failures, tt.want)
		}
	}
}

func TestLimit(t *testing.T) {
	s, h := bundle.Defaults(), &History{}
	s.Limit = bundle.Limit{N: 2, Per: time.Minute}
	for i, tt := range []struct {
		now  time.Duration
		want Event
	}{{0, Retry}, {time.Second, Retry}, {2 * time.Second, Fail}, {60 * time.Second, Retry}, {60500 * time.Millisecond, Fail}} {
		if got := AfterExit(s, h, false, 0, tt.now); got != tt.want {
			t.Errorf("step %d: %s, want %s", i, got, tt.want)
		}
	}
}

func TestBackoffDelay(t *testing.T) {
	s := bundle.Defaults()
	for _, tt := range []struct {
		failures int
		random   float64
		want     time.Duration
	}{
		{1, 0, 100 * time.Millisecond}, {1, 1, 50 * time.Millisecond}, {2, 0, 200 * time.Millisecond},
		{4, 0.5, 600 * time.Millisecond}, {9, 0, 25600 * time.Millisecond}, {10, 0, 30 * time.Second}, {1000000, 0, 30 * time.Second}, {0, 0, 100 * time.Millisecond},
	} {
		if got := BackoffDelay(s, tt.failures, tt.random); got != tt.want {
			t.Errorf("%d failures, random %v: %v, want %v", tt.failures, tt.random, got, tt.want)
		}
	}
	if got := BackoffDelay(bundle.Settings{}, 5, 0); got != 0 {
		t.Errorf("no delay set: %v", got)
	}
}
