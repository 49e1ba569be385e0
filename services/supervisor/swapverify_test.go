package supervisor

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keelson/services/control"
	"keelson/services/machine"
	"keelson/services/task"
	"keelson/services/versions"
)

// An artifact whose root is verified after the start, and its digest.
const (
	deferring   = `"root":"erofs"`
	rightDigest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
)

// result is what a verification returns after a time.
type result struct {
	after  time.Duration
	digest string
	err    error
}

// verifies makes verifications take time and return results, in order.
func (o *owner) verifies(results ...result) {
	next := 0
	o.digest = func(ctx context.Context) (string, error) {
		r := results[next]
		next++
		select {
		case <-time.After(r.after):
			return r.digest, r.err
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// begins begins a swap whose root is being verified; the new version runs.
func (o *owner) begins(t *testing.T) <-chan control.Response {
	t.Helper()
	o.report(task.Started{PID: 7})
	answer := o.swap(t, "a", deferring, false)
	o.report(task.Ended{})
	o.runs(t, target(t, deferring))
	o.report(task.Started{PID: 8})
	return answer
}

// A swap is committed when the probation is over and the root was verified, also if the first
// attempts fail.
func TestSwapVerifies(t *testing.T) {
	failed := result{time.Second, "", errors.New("no child")}
	for name, tt := range map[string]struct {
		results []result
		takes   time.Duration
	}{
		"during the probation":  {[]result{{10 * time.Second, rightDigest, nil}}, 30 * time.Second},
		"after the probation":   {[]result{{time.Minute, rightDigest, nil}}, time.Minute},
		"at the second attempt": {[]result{failed, {time.Minute, rightDigest, nil}}, time.Minute + 2*time.Second},
		"immediately":           {[]result{{0, rightDigest, nil}}, 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOwner(t, "")
				o.verifies(tt.results...)
				answer := o.begins(t)
				time.Sleep(tt.takes - time.Second)
				if state, err := o.versions.Read("a"); err != nil || state.Trial == nil {
					t.Errorf("the swap was committed early: %+v (%v)", state, err)
				}
				time.Sleep(time.Second)
				want(t, answer, "")
				o.current(t, "a", target(t, deferring), versions.Image)
				o.stop()
			})
		})
	}
}

// A version whose root has another digest, or cannot be verified, or fails while it is being
// verified, is not committed: the old one runs again. Only one that was damaged is removed, and
// only one that could not be verified may be swapped in again without force.
func TestSwapNotVerified(t *testing.T) {
	none := result{time.Second, "", errors.New("no child")}
	for name, tt := range map[string]struct {
		results  []result
		fails    func(o *owner)
		reason   string
		damaged  bool
		accepted bool
	}{
		"damaged in the probation": {[]result{{10 * time.Second, "sha256:bb", nil}}, nil,
			"root.erofs has the digest sha256:bb, and the manifest names " + rightDigest, true, false},
		"damaged, after the probation": {[]result{{time.Minute, "sha256:bb", nil}}, nil, "root.erofs has the digest sha256:bb", true, false},
		"no result":                    {[]result{none, none, none, none, none}, nil, "no child", false, true},
		"ends meanwhile": {[]result{{time.Hour, "", nil}}, func(o *owner) {
			time.Sleep(40 * time.Second)
			o.report(task.Ended{Exit: task.Exit{Code: 3}})
		}, "exited 3", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOwner(t, "")
				o.verifies(tt.results...)
				answer := o.begins(t)
				if tt.fails != nil {
					tt.fails(o)
				} else {
					time.Sleep(time.Minute + time.Second)
					o.report(task.Ended{})
				}
				o.is(t, machine.Starting, 3)
				o.runs(t, versions.Image)
				o.report(task.Started{PID: 9})
				want(t, answer, tt.reason)
				o.current(t, "a", versions.Image, "")
				if _, err := os.Stat(o.candidates.Folder("a", target(t, deferring))); (err == nil) == tt.damaged {
					t.Errorf("the version in the store: %v", err)
				}
				o.digest = nil
				if !tt.accepted {
					want(t, o.swap(t, "a", deferring, false), "failed before: ")
				}
				answer = o.swap(t, "a", deferring, !tt.accepted)
				o.is(t, machine.Restarting, 3, "watch", "stop terminated")
				o.commits(t, answer)
				o.current(t, "a", target(t, deferring), versions.Image)
				o.stop()
			})
		})
	}
}

// A version that is ordered to restart while its root is being verified, during the probation or
// after it, is committed when it is ready again.
func TestRestartWhileVerifying(t *testing.T) {
	for _, ordered := range []time.Duration{20 * time.Second, 50 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			o := newOwner(t, "")
			o.verifies(result{time.Minute, rightDigest, nil})
			answer := o.begins(t)
			time.Sleep(ordered)
			o.order(t, control.Request{Verb: control.Restart, Names: []string{"a"}})
			o.report(task.Ended{})
			time.Sleep(time.Minute)
			if state, err := o.versions.Read("a"); err != nil || state.Trial == nil {
				t.Errorf("the swap was committed while the service starts: %+v (%v)", state, err)
			}
			o.report(task.Started{PID: 9})
			if ordered < 30*time.Second {
				time.Sleep(30 * time.Second)
			}
			want(t, answer, "")
			o.current(t, "a", target(t, deferring), versions.Image)
			o.stop()
		})
	}
}

// A stop ordered while the root is being verified ends the swap and the verification.
func TestStopWhileVerifying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwner(t, "")
		ended := make(chan struct{})
		o.digest = func(ctx context.Context) (string, error) {
			<-ctx.Done()
			close(ended)
			return "", ctx.Err()
		}
		answer := o.begins(t)
		time.Sleep(time.Minute)
		o.order(t, control.Request{Verb: control.Stop, Names: []string{"a"}})
		o.report(task.Ended{})
		want(t, answer, "ordered to stop")
		<-ended
		o.current(t, "a", versions.Image, "")
		o.stop()
	})
}

// A supervisor that ends while the root is being verified leaves the record of the swap, which
// the next one undoes.
func TestEndWhileVerifying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwner(t, "")
		o.verifies(result{time.Hour, rightDigest, nil})
		answer := o.begins(t)
		time.Sleep(time.Minute)
		o.stop()
		want(t, answer, "the supervisor ended before the swap")
		if state, err := o.versions.Read("a"); err != nil || state.Current != versions.Image || state.Trial == nil {
			t.Errorf("the store holds %+v (%v)", state, err)
		}
	})
}

// Beside the old version, the new one is verified before the old one is stopped.
func TestOverlapVerifies(t *testing.T) {
	for _, digest := range []string{rightDigest, "sha256:bb"} {
		t.Run(digest, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOwner(t, "")
				o.verifies(result{time.Minute, digest, nil})
				o.report(task.Started{PID: 7})
				before, _, _ := o.last()
				text := overlapping + "," + deferring
				answer := o.swap(t, "a", text, false)
				next, _, _ := o.last()
				next.spec.Report(task.Started{PID: 8})
				time.Sleep(59 * time.Second)
				if got := strings.Join(before.asked(), " "); got != "watch" {
					t.Errorf("while the root is being verified, the old version was asked %q", got)
				}
				time.Sleep(time.Second)
				synctest.Wait()
				if digest == rightDigest {
					before.spec.Report(task.Ended{})
					want(t, answer, "")
					o.current(t, "a", target(t, text), versions.Image)
				} else {
					next.spec.Report(task.Ended{})
					want(t, answer, "root.erofs has the digest sha256:bb")
					o.current(t, "a", versions.Image, "")
				}
				o.stop()
			})
		})
	}
}

// A plan, and an artifact that is forced, are verified before anything else.
func TestNotDeferred(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOwner(t, "")
		o.digest = func(context.Context) (string, error) {
			t.Error("the root is verified in the probation")
			return "", nil
		}
		o.report(task.Started{PID: 7})
		r := control.Request{Verb: control.Swap, Names: []string{"a"}, Body: strings.NewReader(deferring), Plan: true}
		want(t, o.order(t, r), "")
		o.commits(t, o.swap(t, "a", deferring, true))
		o.stop()
	})
}
