package supervisor

import (
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"keelson/services/candidate"
	"keelson/services/control"
	"keelson/services/machine"
	"keelson/services/task"
	"keelson/services/versions"
)

// plainImage is a container image for fakeStage.
const plainImage = `image {"config":{"User":"app","Cmd":["fresh"],"Env":["NEW=1"]}}`

// A service takes command and environment of a container image and keeps its settings. The
// version has the digest of the image.
func TestSwapImage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwner(t, `"keelson.restart":"always"`)
		o.report(task.Started{PID: 7})
		plan := o.Control(t.Context(), control.Request{Verb: control.Swap, Names: []string{"a"}, Body: strings.NewReader(plainImage), Plan: true})
		text := strings.Join(plan.Plan, "\n")
		for _, wanted := range []string{"container image example/a:v1", `USER "app" of the image is not used`, `process.args`, "process.env[NEW]"} {
			if plan.Error != "" || !strings.Contains(text, wanted) {
				t.Errorf("the plan has no %q: %s %s", wanted, text, plan.Error)
			}
		}
		if strings.Contains(text, "keelson.restart") {
			t.Errorf("the plan changes settings: %s", text)
		}
		o.current(t, "a", versions.Image, "")
		answer := o.swap(t, "a", plainImage, false)
		o.commits(t, answer)
		state, err := o.versions.Read("a")
		if err != nil || state.Current.Digest() != target(t, plainImage).Digest() {
			t.Errorf("the store holds %+v (%v)", state, err)
		}
		last, _, _ := o.last()
		if b := last.spec.Bundle; b.Dir != o.candidates.Folder("a", state.Current) || b.Spec.Process.Args[0] != "fresh" || b.Settings.Restart != "always" {
			t.Errorf("the task runs %+v of %s", b.Spec.Process, b.Dir)
		}
		changes := o.Control(t.Context(), control.Request{Verb: control.Diff}).Changes
		if len(changes) != 1 || changes[0].Image != "example/a:v1" || changes[0].Version != state.Current.Digest() {
			t.Errorf("the differences are %+v", changes)
		}
		want(t, o.swap(t, "a", plainImage, false), "is current")
		o.stop()
	})
}

// The policy holds for container images, and only a service that exists can take one.
func TestSwapImageRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwner(t, "")
		o.report(task.Started{PID: 7})
		want(t, o.swap(t, "b", plainImage, false), "there is no such service whose settings it could take")
		want(t, o.swap(t, "a", `image {"config":{}}`, false), "there is no command")
		want(t, o.swap(t, "a", `image {"config":{"Cmd":["x"],"WorkingDir":"w"}}`, false), "process.cwd")
		want(t, o.swap(t, "a", `image {"config":{"Cmd":["x"],"Env":["novalue"]}}`, false), "process.env")
		want(t, o.swap(t, "a", `image {"config":{"Cmd":["x"],"StopSignal":"SIGNOTHING"}}`, false), "stopSignal")
		const key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
		put(t, o.options.Policy, "keys: {k: "+key+"}\nservices: [{name: a, allow: [swap]}]")
		want(t, o.swap(t, "a", plainImage, false), "has no signature")
		o.is(t, machine.Running, 1, "watch")
		o.current(t, "a", versions.Image, "")
		if kept, err := filepath.Glob(filepath.Join(o.options.Versions, "*", "s*-*")); len(kept) > 0 {
			t.Errorf("images that were refused were left: %q (%v)", kept, err)
		}
		o.stop()
	})
}

// unread fails the test when it is read.
type unread struct{ *testing.T }

func (r unread) Read([]byte) (int, error) {
	r.Error("the artifact is read")
	return 0, candidate.ErrNotFound
}

// What the policy does not allow for any version is refused before the artifact is read.
func TestSwapRefusedUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwner(t, "")
		o.report(task.Started{PID: 7})
		for name, policy := range map[string]string{
			"a": "services: [{name: '*', allow: [rollback], signed-by: []}]",
			"b": "services: [{name: '*', allow: [swap], signed-by: []}]", // the image has no b
		} {
			for _, plan := range []bool{false, true} {
				put(t, o.options.Policy, policy)
				want(t, o.order(t, control.Request{Verb: control.Swap, Names: []string{name}, Body: unread{t}, Plan: plan}), "the policy does not allow to swap")
			}
		}
		o.is(t, machine.Running, 1, "watch")
		o.stop()
	})
}
