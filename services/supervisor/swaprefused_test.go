package supervisor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"keelson/services/control"
	"keelson/services/machine"
	"keelson/services/task"
	"keelson/services/versions"
)

// What cannot be swapped changes nothing.
func TestSwapRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwner(t, "")
		o.report(task.Started{PID: 7})
		for _, tt := range []struct{ name, artifact, reason string }{
			{"a", "bad", "cannot read the artifact"},
			{"a", `"keelson.ready":"never"`, "annotation keelson.ready"},
			{"a", `"keelson.role":"rescue"`, "a rescue shell is no service"},
			{"a", `"keelson.requires":"z"`, `there is no service "z"`},
			{"a", `"namespace":"other"`, "another containerd namespace"},
			{"b", `"keelson.after":"b"`, "keelson.after"},
			{"../a", "", "not a name"},
			{"a.out", "", "share the file"},
		} {
			want(t, o.swap(t, tt.name, tt.artifact, false), tt.reason)
		}
		want(t, o.order(t, control.Request{Verb: control.Rollback, Names: []string{"a"}}), "no previous version")
		want(t, o.order(t, control.Request{Verb: control.Rollback}), "name one")
		o.is(t, machine.Running, 1, "watch")
		o.current(t, "a", versions.Image, "")
		if staged, err := filepath.Glob(filepath.Join(o.options.Versions, "*", "staging-*")); len(staged) > 0 {
			t.Errorf("staging folders were left: %q (%v)", staged, err)
		}
		if kept, err := filepath.Glob(filepath.Join(o.options.Versions, "*", "sha256-*")); len(kept) > 0 {
			t.Errorf("versions that were refused were left: %q (%v)", kept, err)
		}
		first := o.swap(t, "a", "", false)
		want(t, o.swap(t, "a", `"x":"y"`, false), "another swap of it has begun")
		o.commits(t, first)
		o.stop()
	})
}

// The policy of the image decides. A policy that cannot be read refuses everything.
func TestSwapPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwner(t, "")
		o.report(task.Started{PID: 7})
		for policy, reason := range map[string]string{
			"":         "policy",
			"nonsense": "swap.yml",
			"services: [{name: '*', allow: [rollback], signed-by: []}]": "policy",
		} {
			put(t, o.options.Policy, policy)
			want(t, o.swap(t, "a", "", false), reason)
		}
		if err := os.Remove(o.options.Policy); err != nil {
			t.Fatal(err)
		}
		want(t, o.swap(t, "b", "", false), "policy")
		want(t, o.order(t, control.Request{Verb: control.Remove, Names: []string{"a"}}), "policy")
		o.is(t, machine.Running, 1, "watch")
		answer := o.swap(t, "a", "", false) // What the image has may be replaced.
		o.commits(t, answer)
		o.stop()
	})
}

// A plan shows what would change, and changes nothing.
func TestSwapPlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwner(t, "")
		o.report(task.Started{PID: 7})
		plan := func(verb, name, text string) control.Response {
			return o.Control(t.Context(), control.Request{Verb: verb, Names: []string{name}, Body: strings.NewReader(text), Plan: true})
		}
		if r := plan(control.Swap, "a", `"keelson.restart":"always"`); r.Error != "" || !strings.Contains(strings.Join(r.Plan, "\n"), "keelson.restart") {
			t.Errorf("the plan is %+v", r)
		}
		if r := plan(control.Swap, "a", `"keelson.ready":"never"`); !strings.Contains(r.Error, "keelson.ready") || len(r.Plan) == 0 {
			t.Errorf("the plan of a bundle that is refused is %+v", r)
		}
		if r := plan(control.Swap, "b", ""); r.Error != "" || len(r.Plan) == 0 || r.Plan[0] != "the service is added" {
			t.Errorf("the plan of a new service is %+v", r)
		}
		if r := plan(control.Remove, "a", ""); r.Error != "" || len(r.Plan) != 1 {
			t.Errorf("the plan of a removal is %+v", r)
		}
		o.is(t, machine.Running, 1, "watch")
		o.current(t, "a", versions.Image, "")
		if kept, err := filepath.Glob(filepath.Join(o.options.Versions, "*", "s*-*")); len(kept) > 0 {
			t.Errorf("plans have left %q (%v)", kept, err)
		}
		o.stop()
	})
}
