package supervisor

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keelson/runtime/artifact"
	"keelson/services/candidate"
	"keelson/services/control"
	"keelson/services/machine"
	"keelson/services/task"
	"keelson/services/versions"
)

// fakeStage makes a bundle whose annotations are the artifact's bytes. With annotation root,
// it has an erofs image whose verification can be deferred.
func fakeStage(_ context.Context, dir string, r io.Reader, o candidate.Staging) (artifact.Meta, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return artifact.Meta{}, err
	}
	if string(text) == "bad" {
		return artifact.Meta{}, errors.New("cannot read the artifact: bad")
	}
	if string(text) == `"namespace":"other"` {
		err = os.WriteFile(filepath.Join(dir, "runtime.json"), []byte(`{"namespace":"other"}`), 0o600)
	}
	if err != nil {
		return artifact.Meta{}, err
	}
	meta := artifact.Meta{Digest: fmt.Sprintf("sha256:%x", sha256.Sum256(text)), Architecture: "amd64"}
	if config, ok := strings.CutPrefix(string(text), "image "); ok {
		meta.Image, meta.Reference = true, "example/a:v1"
		return meta, os.WriteFile(filepath.Join(dir, artifact.ImageFile), []byte(config), 0o600)
	}
	if o.DeferRoot && strings.Contains(string(text), `"root":`) {
		meta.RootDigest = rightDigest
	}
	known, err := json.Marshal(meta)
	if o.InPlace && strings.Contains(string(text), `"root":"place"`) {
		meta.InPlace = &artifact.Place{Offset: 1, Size: 2}
	}
	config := `{"process":{"args":["new"],"cwd":"/"},"root":{"path":"rootfs"},"annotations":{` + string(text) + `}}`
	return meta, errors.Join(err,
		os.WriteFile(filepath.Join(dir, artifact.File), known, 0o600),
		os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600))
}

// target is the version of an artifact of fakeStage.
func target(t *testing.T, text string) versions.Target {
	t.Helper()
	v, err := versions.TargetOf(fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text))))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// swap orders a swap. The channel receives the answer.
func (o *owner) swap(t *testing.T, name, text string, force bool) <-chan control.Response {
	return o.order(t, control.Request{Verb: control.Swap, Names: []string{name}, Body: strings.NewReader(text), Force: force, Peer: "user 0"})
}

func (o *owner) order(t *testing.T, r control.Request) <-chan control.Response {
	t.Helper()
	answer := make(chan control.Response, 1)
	go func() { answer <- o.Control(t.Context(), r) }()
	synctest.Wait()
	return answer
}

// want compares an answer: empty for success.
func want(t *testing.T, answer <-chan control.Response, wanted string) {
	t.Helper()
	synctest.Wait()
	select {
	case r := <-answer:
		if wanted == "" && r.Error != "" || !strings.Contains(r.Error, wanted) || (r.Code == 0) != (wanted == "") {
			t.Errorf("the answer is %+v, want %q", r, wanted)
		}
	default:
		t.Errorf("no answer, want %q", wanted)
	}
}

// commits ends the old version, lets the new one pass its probation, and expects success.
func (o *owner) commits(t *testing.T, answer <-chan control.Response) {
	t.Helper()
	o.report(task.Ended{})
	o.report(task.Started{PID: 8})
	time.Sleep(30 * time.Second)
	want(t, answer, "")
}

// current compares what the store holds of a service, and what the last task runs.
func (o *owner) current(t *testing.T, name string, current, previous versions.Target) {
	t.Helper()
	synctest.Wait()
	state, err := o.versions.Read(name)
	if err != nil || state.Current != current || state.Previous != previous || state.Trial != nil {
		t.Errorf("the store holds %+v (%v), want %q and %q", state, err, current, previous)
	}
}

// runs compares the bundle of the last task.
func (o *owner) runs(t *testing.T, v versions.Target) {
	t.Helper()
	last, _, _ := o.last()
	if got, want := last.spec.Bundle.Dir, o.candidates.Folder(last.spec.Name, v); got != want || last.spec.Bundle.Name != last.spec.Name {
		t.Errorf("the last task runs %s as %s, want %s", got, last.spec.Bundle.Name, want)
	}
}

func TestSwapCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwner(t, "")
		o.report(task.Started{PID: 7})
		answer := o.swap(t, "a", "", false)
		o.is(t, machine.Restarting, 1, "watch", "stop terminated")
		o.report(task.Ended{})
		o.is(t, machine.Starting, 2)
		o.runs(t, target(t, ""))
		o.report(task.Started{PID: 8})
		time.Sleep(29 * time.Second)
		if state, err := o.versions.Read("a"); err != nil || state.Current != versions.Image || state.Trial == nil {
			t.Errorf("during the probation the store holds %+v (%v)", state, err)
		}
		time.Sleep(time.Second)
		want(t, answer, "")
		o.current(t, "a", target(t, ""), versions.Image)
		if v := o.Control(t.Context(), control.Request{Verb: control.List}).Services[0]; v.Version != target(t, "").Digest() {
			t.Errorf("the list has version %q", v.Version)
		}
		changes := o.Control(t.Context(), control.Request{Verb: control.Diff}).Changes
		if len(changes) != 1 || changes[0].Change != "swapped" || changes[0].By != "user 0" || changes[0].Previous != "image" {
			t.Errorf("the differences are %+v", changes)
		}
		want(t, o.swap(t, "a", "", false), "is current")
		o.stop()
	})
}

// A rollback leads back to a version with a wrong annotation, with which a swap is refused.
func TestRollbackToWarning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwner(t, `"keelson.restart":"sometimes"`)
		o.report(task.Started{PID: 7})
		o.commits(t, o.swap(t, "a", "", false))
		answer := o.order(t, control.Request{Verb: control.Rollback, Names: []string{"a"}})
		o.commits(t, answer)
		o.current(t, "a", versions.Image, target(t, ""))
		o.stop()
	})
}

// A restart ordered during the probation does not end it before the service is ready again.
func TestSwapRestarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwner(t, "")
		o.report(task.Started{PID: 7})
		answer := o.swap(t, "a", "", false)
		o.report(task.Ended{})
		o.report(task.Started{PID: 8})
		time.Sleep(20 * time.Second)
		o.order(t, control.Request{Verb: control.Restart, Names: []string{"a"}})
		o.report(task.Ended{})
		time.Sleep(20 * time.Second)
		if state, err := o.versions.Read("a"); err != nil || state.Trial == nil {
			t.Errorf("the swap was committed while the service starts: %+v (%v)", state, err)
		}
		o.report(task.Started{PID: 9})
		time.Sleep(21 * time.Second)
		want(t, answer, "")
		o.current(t, "a", target(t, ""), versions.Image)
		o.stop()
	})
}

// However a new version fails, the old one runs again, and the new one is refused until
// it is forced.
func TestSwapFails(t *testing.T) {
	const ready = `"keelson.ready":"notify","keelson.ready.timeout":"20s"`
	for name, tt := range map[string]struct {
		artifact string
		fails    func(o *owner)
		reason   string
	}{
		"exits":     {"", func(o *owner) { o.report(task.Started{PID: 8}, task.Ended{Exit: task.Exit{Code: 3}}) }, "exited 3"},
		"ends well": {"", func(o *owner) { o.report(task.Started{PID: 8}, task.Ended{}) }, "exited 0, while the version before kept running"},
		"no start":  {"", func(o *owner) { o.report(task.NotStarted{Err: errors.New("no such file")}) }, "no such file"},
		"unhealthy in probation": {"", func(o *owner) {
			o.report(task.Started{PID: 8})
			time.Sleep(20 * time.Second)
			o.report(task.Unhealthy{Err: errors.New("no answer")}, task.Ended{Exit: task.Exit{Code: 143}})
		}, "unhealthy: no answer"},
		"not ready": {ready, func(o *owner) {
			o.report(task.Started{PID: 8}, task.NotReady{Err: errors.New("no READY=1")}, task.Ended{})
		}, "no READY=1"},
		"hangs": {ready, func(o *owner) {
			o.report(task.Started{PID: 8})
			time.Sleep(31 * time.Second) // more than stop timeout of the old one and keelson.ready.timeout
			o.report(task.Ended{})
		}, "not ready within 30s (not ready yet)"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOwner(t, "")
				o.report(task.Started{PID: 7})
				answer := o.swap(t, "a", tt.artifact, false)
				o.report(task.Ended{})
				o.runs(t, target(t, tt.artifact))
				tt.fails(o)
				o.is(t, machine.Starting, 3)
				o.runs(t, versions.Image)
				o.report(task.Started{PID: 9})
				want(t, answer, tt.reason)
				o.is(t, machine.Running, 3, "watch")
				o.current(t, "a", versions.Image, "")
				want(t, o.swap(t, "a", tt.artifact, false), "failed before: ")
				answer = o.swap(t, "a", tt.artifact, true)
				o.is(t, machine.Restarting, 3, "watch", "stop terminated")
				o.report(task.Ended{})
				o.report(task.Started{PID: 10})
				if tt.artifact != "" {
					o.report(task.Ready{})
				}
				time.Sleep(30 * time.Second)
				want(t, answer, "")
				o.current(t, "a", target(t, tt.artifact), versions.Image)
				o.stop()
			})
		})
	}
}

// A stop ordered during a swap ends both: the old version is current and does not run.
func TestSwapStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwner(t, "")
		o.report(task.Started{PID: 7})
		answer := o.swap(t, "a", "", false)
		o.report(task.Ended{})
		o.report(task.Started{PID: 8})
		stopped := o.order(t, control.Request{Verb: control.Stop, Names: []string{"a"}})
		o.report(task.Ended{})
		want(t, stopped, "")
		want(t, answer, "ordered to stop")
		o.is(t, machine.Stopped, 2, "watch", "stop terminated")
		o.current(t, "a", versions.Image, "")
		started := o.order(t, control.Request{Verb: control.Start, Names: []string{"a"}})
		o.runs(t, versions.Image)
		o.report(task.Started{PID: 9})
		want(t, started, "")
		o.stop()
	})
}

// A service that the image does not have is added, rolled back to none, and comes again.
func TestSwapAdds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwner(t, "")
		o.report(task.Started{PID: 7})
		answer := o.swap(t, "b", "", false)
		o.runs(t, target(t, ""))
		o.report(task.Started{PID: 8}, task.Ended{Exit: task.Exit{Code: 1}})
		want(t, answer, "exited 1")
		if r := o.Control(t.Context(), control.Request{Verb: control.List}); len(r.Services) != 1 {
			t.Errorf("a service that was not added is there: %+v", r.Services)
		}
		answer = o.swap(t, "b", "", true)
		o.report(task.Started{PID: 8})
		time.Sleep(30 * time.Second)
		want(t, answer, "")
		o.current(t, "b", target(t, ""), versions.Image)
		answer = o.order(t, control.Request{Verb: control.Rollback, Names: []string{"b"}})
		o.report(task.Ended{})
		want(t, answer, "")
		o.current(t, "b", versions.Removed, target(t, ""))
		answer = o.order(t, control.Request{Verb: control.Rollback, Names: []string{"b"}})
		o.report(task.Started{PID: 9})
		want(t, answer, "")
		o.current(t, "b", target(t, ""), versions.Removed)
		o.stop()
	})
}

// A service of the image is removed and comes back. Clients that wait for it are answered.
func TestSwapRemoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwner(t, "")
		o.report(task.Started{PID: 7})
		removed := o.order(t, control.Request{Verb: control.Remove, Names: []string{"a"}})
		stopped := o.order(t, control.Request{Verb: control.Stop, Names: []string{"a"}})
		o.report(task.Ended{})
		want(t, removed, "")
		want(t, stopped, "")
		o.current(t, "a", versions.Removed, versions.Image)
		if r := o.Control(t.Context(), control.Request{Verb: control.List}); len(r.Services) != 0 {
			t.Errorf("a service that was removed is there: %+v", r.Services)
		}
		want(t, o.order(t, control.Request{Verb: control.Start, Names: []string{"a"}}), "no such service")
		want(t, o.order(t, control.Request{Verb: control.Remove, Names: []string{"a"}}), "no such service")
		answer := o.order(t, control.Request{Verb: control.Rollback, Names: []string{"a"}})
		o.runs(t, versions.Image)
		o.report(task.Started{PID: 8})
		want(t, answer, "")
		o.current(t, "a", versions.Image, versions.Removed)
		o.stop()
	})
}
