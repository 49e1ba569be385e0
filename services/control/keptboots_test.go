package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keelson/runtime/boots"
	"keelson/runtime/logs/reader"
)

// Boots that are kept are listed, and logs of one of them are read, over the API.
func TestKeptBoots(t *testing.T) {
	c, dir := serveLogs(t, map[string]string{"web.log": "one\n"})
	k, err := c.KeptBoots(t.Context())
	if err != nil || len(k.Boots) != 1 || k.Boots[0].Boot != 0 || k.Boots[0].Number != 0 || k.Boots[0].Began.IsZero() || k.Boots[0].End != "" {
		t.Fatalf("without any: %+v, %v", k, err)
	}
	this, err := boots.This()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	for i, b := range []boots.Boot{
		{ID: boots.ID{1}, Begin: &boots.Begin{Time: began, Kernel: "6.1"}, End: &boots.End{How: boots.Reboot, By: "me", Time: began.Add(time.Hour)}},
		{End: &boots.End{How: boots.Panic, Text: "why"}},
		{ID: this, Begin: &boots.Begin{Time: began}},
	} {
		folder := filepath.Join(dir, "boots", fmt.Sprintf("%06d-%v", i+3, b.ID))
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, v := range map[string]any{"begin": b.Begin, "end": b.End} {
			if text, err := json.Marshal(v); err != nil || string(text) != "null" && os.WriteFile(filepath.Join(folder, name), text, 0o600) != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(folder, "kernel"), []byte(fmt.Sprintf("6,1,2,-;kernel %d\n", i)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	k, err = c.KeptBoots(t.Context())
	if err != nil || len(k.Boots) != 3 {
		t.Fatalf("%+v, %v", k, err)
	}
	first, second, last := k.Boots[0], k.Boots[1], k.Boots[2]
	if first.Boot != -2 || first.Number != 3 || !first.Began.Equal(began) || !first.Seen.Equal(began.Add(time.Hour)) || first.How != "reboot" || first.By != "me" || first.End != "reboot, ordered by me" || first.Kernel != "6.1" {
		t.Errorf("%+v", first)
	}
	if second.Boot != -1 || second.ID != "" || second.End != "kernel panic: why" || !second.Began.IsZero() {
		t.Errorf("%+v", second)
	}
	if last.Boot != 0 || last.Number != 5 || last.ID != this.String() || last.End != "" || time.Since(last.Seen) > time.Hour {
		t.Errorf("%+v", last)
	}
	var texts []string
	err = c.Logs(t.Context(), LogQuery{Boot: "-1", Names: []string{"kernel"}}, func(o reader.Object, _ bool) error {
		e, err := o.Entry()
		texts = append(texts, string(e.Text))
		return err
	})
	if err != nil || strings.Join(texts, " ") != "kernel 1" {
		t.Errorf("%q, %v", texts, err)
	}
	for boot, code := range map[string]int{"-3": CodeNotFound, "1": CodeUsage, "x": CodeUsage} {
		err := c.Logs(t.Context(), LogQuery{Boot: boot}, func(reader.Object, bool) error { return nil })
		refused := (*RefusedError)(nil)
		if !errors.As(err, &refused) || refused.Code != code {
			t.Errorf("boot %s: %v, want code %d", boot, err, code)
		}
	}
}
