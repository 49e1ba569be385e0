package events

import (
	"encoding/json"
	"testing"
)

func TestParseIDRefuses(t *testing.T) {
	for _, text := range []string{
		"", ".", "9f3c21aa", "9f3c21aa.", "9f3c21aa.0", "9f3c21aa.01", "9f3c21aa.+1", "9f3c21aa.-1", "9f3c21aa.1.1", "9F3C21AA.1",
		"9f3c21a.1", "9f3c21aa0.1", "+f3c21aa.1", "0x3c21aa.1", "9f3c21aa.18446744073709551616", " 9f3c21aa.1", "9f3c21aa.1_0",
	} {
		if id, err := ParseID(text); err == nil {
			t.Errorf("ParseID(%q) = %v", text, id)
		}
	}
}

// What is accepted is what String returns.
func FuzzParseID(f *testing.F) {
	for _, text := range []string{"9f3c21aa.1", "00000000.18446744073709551615", "9f3c21aa.01", "x.1", "."} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParseID(text)
		if err == nil && (id.String() != text || id.IsZero()) {
			t.Errorf("%q is read as %v", text, id)
		}
	})
}

// What is read of a file has increasing numbers, limited texts, and can be written and read
// again.
func FuzzParse(f *testing.F) {
	const line = `{"id":"9f3c21aa.7","time":"2026-02-03T04:05:06Z","at":1,"kind":"service","name":"a","exit":{"code":137,"signal":"SIGKILL"}}` + "\n"
	for _, text := range []string{
		line, line + line[:20], line[:20] + "\n" + line, "{}\n", "null\n[]\n7\n", `{"id":"9f3c21aa.0","kind":"x"}` + "\n", "\x00\xff\n",
		`{"id":"9f3c21aa.18446744073709551615","kind":"x"}` + "\n" + line,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var r ring
		last := uint64(0)
		end := parse(text, testBoot, 0, func(e Event, size int) {
			if e.ID.Seq <= last || e.ID.Boot != testBoot || size > len(text) || len(e.Text) > TextLimit || len(e.Name) > NameLimit {
				t.Errorf("%+v follows %d", e, last)
			}
			last = e.ID.Seq
			r.add(e, size)
		})
		if end != last {
			t.Errorf("the last number is %d, read as %d", last, end)
		}
		for i := range r.count {
			again, err := json.Marshal(r.at(i).Event)
			if err != nil {
				t.Fatal(err)
			}
			if n := parse(append(again, '\n'), testBoot, 0, func(Event, int) {}); n != r.at(i).ID.Seq {
				t.Errorf("%s is read as number %d", again, n)
			}
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	for _, bench := range []struct{ name, dir string }{{"memory", ""}, {"file", b.TempDir()}} {
		b.Run(bench.name, func(b *testing.B) {
			j := journalIn(bench.dir)
			e := Event{Kind: Service, Name: "redis", From: "activating", To: "running", PID: 4711, Restarts: 2}
			b.ReportAllocs()
			for b.Loop() {
				j.Append(e)
			}
		})
	}
}
