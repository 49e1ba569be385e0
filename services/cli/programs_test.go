package cli

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"keelson/services/control"
)

// A swap of keelson's own programs of another machine ends its supervisor. The command waits until one answers
// that the trial has ended, and prints how.
func TestProgramsElsewhere(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	ended := control.Outcome{At: time.Unix(2, 0), Target: digest, Old: "image", Committed: true}
	failed := ended
	failed.Committed, failed.Reason = false, "it hangs"
	before := control.ProgramsState{Lasts: true, Outcome: &control.Outcome{At: time.Unix(1, 0), Target: "image", Old: digest}}
	for name, tt := range map[string]struct {
		swap    func(w http.ResponseWriter)
		then    []control.ProgramsState // an empty one: no answer
		code    int
		out     string
		message string
	}{
		"committed": {begin, []control.ProgramsState{{}, {OnTrial: true, Outcome: before.Outcome}, {Lasts: true, Outcome: &ended}}, 0, "programs: on trial\nprograms: swap to sha256:aaaaaaaaaaaa committed\n", ""},
		"in memory": {begin, []control.ProgramsState{{Outcome: &ended}}, 0, "after a reboot the image's own programs run\n", ""},
		"failed":    {begin, []control.ProgramsState{{Lasts: true, Outcome: &failed}}, 1, "on trial", "swap of the programs to sha256:aaaaaaaaaaaa failed: it hangs; image is restored"},
		"ended":     {begin, []control.ProgramsState{before}, 1, "on trial", "ended before the trial of the programs had begun"},
		"refused": {func(w http.ResponseWriter) {
			control.Fail(w, http.StatusConflict, errors.New("another one is on trial"))
		}, nil, 1, "", "another one is on trial"},
		"no answer": {func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, nil, 1, "", "ended without an answer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			mux := http.NewServeMux()
			mux.HandleFunc("POST /v1/programs/swap", func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				tt.swap(w)
			})
			mux.HandleFunc("GET /v1/programs", func(w http.ResponseWriter, _ *http.Request) {
				state := before
				if n := int(asked.Add(1)) - 2; n >= 0 {
					state = tt.then[min(n, len(tt.then)-1)]
				}
				if state == (control.ProgramsState{}) {
					panic(http.ErrAbortHandler)
				}
				control.Reply(w, state)
			})
			server := httptest.NewServer(mux)
			defer server.Close()
			var out, diag strings.Builder
			app := &App{Name: "keelson ctl", Client: &control.Client{Transport: http.DefaultTransport, URL: server.URL, Where: server.URL}, In: strings.NewReader("artifact"), Out: &out, Err: &diag}
			code := app.Run(context.Background(), []string{"swap", "--programs", "-"})
			if code != tt.code || !strings.HasSuffix(out.String(), tt.out) && !strings.Contains(out.String(), tt.out) || !strings.Contains(diag.String(), tt.message) || tt.message == "" && diag.Len() > 0 {
				t.Errorf("%d, %q, %q", code, out.String(), diag.String())
			}
		})
	}
}

// begin says that the trial has begun, and ends as a supervisor does.
func begin(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = io.WriteString(w, "event: progress\ndata: {\"text\":\"on trial\"}\n\n")
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}
