package step

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"keelson/runtime/timeline"
)

type record []string

func (r *record) Event(e timeline.Event) { *r = append(*r, e.Stage+" "+e.Name+": "+e.Result) }

func answer(result string, err error) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return result, err }
}

func TestRun(t *testing.T) {
	bad := errors.New("bad")
	var got record
	err := Run(t.Context(), &got, slog.New(slog.DiscardHandler), []Step{
		{Stage: "a", Do: answer("fine", nil)},
		{Stage: "b", Name: "n", Do: answer("", bad)},
		{Stage: "c", Do: answer("", nil), Quiet: true},
		{Stage: "d", Do: func(context.Context) (string, error) { panic("oh") }, Quiet: true},
		{Stage: "e", Do: answer("x", bad), On: Fatal},
		{Stage: "f", Do: answer("never", nil)},
	})
	if !errors.Is(err, bad) {
		t.Errorf("error %v", err)
	}
	want := record{"a : fine", "b n: failed: bad", "d : failed: panic: oh", "e : failed: bad"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
}

func TestEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var got record
	err := Run(ctx, &got, slog.New(slog.DiscardHandler), []Step{
		{Stage: "a", Do: func(context.Context) (string, error) { cancel(); return "fine", nil }},
		{Stage: "b", Do: answer("never", nil)},
	})
	if err != nil || !reflect.DeepEqual(got, record{"a : fine"}) {
		t.Errorf("events %q, %v", got, err)
	}
}

func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got record
		stuck := make(chan struct{})
		defer close(stuck)
		began := time.Now()
		err := Run(t.Context(), &got, slog.New(slog.DiscardHandler), []Step{
			{Stage: "stuck", Limit: time.Minute, Do: func(context.Context) (string, error) { <-stuck; return "", nil }},
			{Stage: "returns", Limit: time.Minute, Do: func(ctx context.Context) (string, error) { <-ctx.Done(); return "", errors.New("half") }},
			{Stage: "quick", Limit: time.Minute, Do: answer("done", nil)},
		})
		want := record{"stuck : failed: not done in time (1m0s)", "returns : failed: half", "quick : done"}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("events %q, %v", got, err)
		}
		if took := time.Since(began); took > 2*time.Minute+2*time.Second {
			t.Errorf("took %v", took)
		}
	})
}
