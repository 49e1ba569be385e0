package reader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/logs"
	"keelson/runtime/logs/index"
	"keelson/runtime/logs/logstest"
	"keelson/runtime/timeline"
)

// chunk is a part of a log that was written at once.
type chunk struct {
	at   time.Duration // since the boot
	text string
}

// write makes a log with its index, which is independent of the writer in package index.
func write(t testing.TB, path string, chunks ...chunk) {
	t.Helper()
	var text string
	for _, c := range chunks {
		text += c.text
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_INO|unix.STATX_BTIME, &st); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 512)
	copy(b, "klogidx\x01")
	binary.LittleEndian.PutUint64(b[8:], st.Ino)
	if st.Mask&unix.STATX_BTIME != 0 {
		binary.LittleEndian.PutUint64(b[16:], uint64(st.Btime.Sec)*1e9+uint64(st.Btime.Nsec))
	}
	b[24] = 1
	boot := index.ThisBoot()
	copy(b[32:], boot[:])
	offset := uint64(0)
	for _, c := range chunks {
		if c.at > 0 {
			b = append(b, binary.LittleEndian.AppendUint64(nil, offset)[:6]...)
			b = append(b, binary.LittleEndian.AppendUint64(nil, uint64(c.at.Microseconds()))[:6]...)
		}
		offset += uint64(len(c.text))
	}
	if err := os.WriteFile(index.Path(path), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// lines reads all that is selected, as STREAM@SECONDS TEXT: seconds since the boot.
func lines(t testing.TB, s Set, o Options) []string {
	t.Helper()
	var all []string
	for e, err := range s.Read(t.Context(), o) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, show(e))
	}
	return all
}

func show(e Entry) string {
	at := time.Until(e.Time) + timeline.Now()
	text := fmt.Sprintf("%s%s@%.0f %s", e.Name, map[string]string{Stdout: ".out"}[e.Stream], at.Seconds(), e.Text)
	if e.Bound {
		text = "<" + text
	}
	if e.More {
		text += "…"
	}
	return text
}

func equal(t testing.TB, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// at returns the time of day some seconds after the boot.
func at(seconds float64) time.Time {
	return time.Now().Add(time.Duration(seconds*1e9) - timeline.Now())
}

const s = time.Second

// system makes two services, one of them rotated, and an onboot container.
func system(t testing.TB) Set {
	t.Helper()
	dir := t.TempDir()
	onboot := filepath.Join(dir, "onboot")
	if err := os.Mkdir(onboot, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "web.log.1"), chunk{10 * s, "w1\nw2\n"}, chunk{30 * s, "w3\n"})
	write(t, filepath.Join(dir, "web.log"), chunk{50 * s, "w4\n"}, chunk{70 * s, "w5 \x1b[2Jx\n"})
	write(t, filepath.Join(dir, "web.out.log"), chunk{31 * s, "o1\n"}, chunk{60 * s, "o2"})
	write(t, filepath.Join(dir, "db.log"), chunk{20 * s, "d1\n"}, chunk{55 * s, "d2\nd3\n"})
	write(t, filepath.Join(onboot, "onboot.000-first.log"), chunk{5 * s, "f1\n"})
	for _, name := range []string{"wtmp", ".x.log", "x.log.lost"} { // are no logs
		if err := os.WriteFile(filepath.Join(dir, name), []byte("no\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink("/etc/passwd", filepath.Join(dir, "link.log")), unix.Mkfifo(filepath.Join(dir, "fifo.log"), 0o600)); err != nil {
		t.Fatal(err)
	}
	return Set{Folders: []string{dir, onboot, filepath.Join(dir, "none")}}
}

func TestRead(t *testing.T) {
	set := system(t)
	all := []string{"onboot.000-first@5 f1", "web@10 w1", "web@10 w2", "db@20 d1", "web@30 w3", "web.out@31 o1", "web@50 w4", "db@55 d2", "db@55 d3", "web.out@60 o2", "web@70 w5 \x1b[2Jx"}
	for _, tt := range []struct {
		name    string
		options Options
		want    []string
	}{
		{"all", Options{}, all},
		{"names", Options{Names: []string{"db", "on*"}}, []string{all[0], all[3], all[7], all[8]}},
		{"since", Options{Since: at(30.5)}, all[5:]},
		{"since a record", Options{Since: at(54.9)}, all[7:]},
		{"since the end", Options{Since: at(100)}, nil},
		{"until", Options{Until: at(30.5)}, all[:5]},
		{"between", Options{Since: at(15), Until: at(50.5)}, all[3:7]},
		{"last lines", Options{Lines: 4}, all[7:]},
		{"last lines of one", Options{Lines: 3, Names: []string{"web"}}, []string{all[6], all[9], all[10]}},
		{"more lines than there are", Options{Lines: 100}, all},
		{"last lines since", Options{Lines: 100, Since: at(52)}, all[7:]},
		{"last lines until", Options{Lines: 2, Until: at(30.5)}, all[3:5]},
		{"matching", Options{Match: regexp.MustCompile("^[dw]1$")}, []string{all[1], all[3]}},
		{"last matching", Options{Match: regexp.MustCompile("[dw]"), Lines: 2}, []string{all[8], all[10]}},
		{"no such log", Options{Names: []string{"none"}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) { equal(t, lines(t, set, tt.options), tt.want...) })
	}
	names, err := set.Names()
	if err != nil || strings.Join(names, " ") != "db onboot.000-first web" {
		t.Errorf("names %q, %v", names, err)
	}
}

// Without an index, or before its first record, a line has the latest possible time.
func TestTimesThatAreNotKnown(t *testing.T) {
	set := system(t)
	dir := set.Folders[0]
	write(t, filepath.Join(dir, "db.log"), chunk{0, "d1\nd"}, chunk{55 * s, "2\nd3\n"})
	if err := os.Remove(index.Path(filepath.Join(dir, "web.log.1"))); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(dir, "web.log.1"), time.Time{}, at(40)); err != nil {
		t.Fatal(err)
	}
	equal(t, lines(t, set, Options{Names: []string{"db", "web"}}),
		"web.out@31 o1", "<web@40 w1", "<web@40 w2", "<web@40 w3", "web@50 w4", "<db@55 d1", "<db@55 d2", "db@55 d3", "web.out@60 o2", "web@70 w5 \x1b[2Jx")
}

// An index moved by a rotation, between the opening of the log and that of the index, is
// found.
func TestIndexOfRotatedName(t *testing.T) {
	set := system(t)
	path := filepath.Join(set.Folders[0], "db.log")
	if err := os.Rename(index.Path(path), index.Path(path+".1")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".1", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	equal(t, lines(t, set, Options{Names: []string{"db"}}), "db@20 d1", "db@55 d2", "db@55 d3")
}

// Lines of any length are returned in parts; a filter decides by the first one.
func TestLongLines(t *testing.T) {
	set := system(t)
	long := strings.Repeat("x", LineLimit)
	write(t, filepath.Join(set.Folders[0], "db.log.1"), chunk{20 * s, "a" + long + long + "e\n" + long[1:] + "\n" + long[1:]})
	write(t, filepath.Join(set.Folders[0], "db.log"), chunk{20 * s, "f\ng\n"})
	names := []string{"db"}
	equal(t, lines(t, set, Options{Names: names}), "db@20 a"+long[1:]+"…", "db@20 "+long+"…", "db@20 xe", "db@20 "+long[1:],
		"db@20 "+long[1:]+"f…", "db@20 ", "db@20 g")
	equal(t, lines(t, set, Options{Names: names, Match: regexp.MustCompile("^a")}), "db@20 a"+long[1:]+"…", "db@20 "+long+"…", "db@20 xe")
	equal(t, lines(t, set, Options{Names: names, Match: regexp.MustCompile("g|f")}), "db@20 "+long[1:]+"f…", "db@20 ", "db@20 g")
	var out []byte
	format, err := Formats("cat")
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range set.Read(t.Context(), Options{Names: names}) {
		if err != nil {
			t.Fatal(err)
		}
		out = format(out, e)
	}
	if want := "a" + long + long + "e\n" + long[1:] + "\n" + long[1:] + "f\ng\n"; string(out) != want {
		t.Errorf("cat has %d bytes, want %d", len(out), len(want))
	}
}

// Reading by time does not read what is before.
func TestSeek(t *testing.T) {
	path := filepath.Join(t.TempDir(), "big.log")
	var chunks []chunk
	for i := range 1000 {
		chunks = append(chunks, chunk{time.Duration(i+1) * s, fmt.Sprintf("%d\n%s\n", i+1, strings.Repeat("x", 5000))})
	}
	write(t, path, chunks...)
	f, err := openFile(path, "big", Stderr, &clock{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	f.clock.set()
	if err := f.start(at(899.5)); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || f.off < info.Size()/1000*899 {
		t.Errorf("it begins at %d, %v", f.off, err)
	}
	if e, ok, err := f.next(); err != nil || !ok || show(e) != "big@900 900" {
		t.Errorf("%s, %v, %v", show(e), ok, err)
	}
}

// Of a log that grows while it is read, what is there at the start is read.
func TestReadEnds(t *testing.T) {
	set := system(t)
	path := filepath.Join(set.Folders[0], "db.log")
	n := 0
	for range set.Read(t.Context(), Options{Names: []string{"db"}}) {
		add(t, path, strings.Repeat("more\n", 10000))
		n++
	}
	if n != 3 {
		t.Errorf("%d lines", n)
	}
}

func TestDaemon(t *testing.T) {
	set := system(t)
	dir := t.TempDir()
	streams := filepath.Join(dir, "streams")
	set.Query = filepath.Join(dir, "query")
	daemon := logstest.Start(t, streams, set.Query)
	for _, name := range []string{"cache.out", "db"} { // db has a file
		r, w, err := os.Pipe()
		if err == nil {
			err = logs.SendToDaemon(streams, name, int(r.Fd()))
		}
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(w, "to the daemon\n")
		w.Close()
		r.Close()
		daemon.Ended(t, name, 1)
	}
	all := lines(t, set, Options{Names: []string{"cache", "db"}})
	if len(all) != 4 || !strings.HasPrefix(all[3], "cache.out@") || !strings.HasSuffix(all[3], " to the daemon") {
		t.Errorf("%q", all)
	}
	names, err := set.Names("c*")
	if err != nil || strings.Join(names, " ") != "cache" {
		t.Errorf("names %q, %v", names, err)
	}
}

// Without a kernel log, keelson's messages are those of the timeline.
func TestTimeline(t *testing.T) {
	dir := t.TempDir()
	set := Set{Folders: []string{dir}, Kmsg: "/dev/null", Timeline: filepath.Join(dir, "timeline")}
	if got := lines(t, set, Options{}); len(got) != 0 {
		t.Errorf("%q", got)
	}
	event := timeline.Event{At: 7 * s, Stage: timeline.Ready, Result: "2 services running"}
	if err := timeline.Append(set.Timeline, event); err != nil {
		t.Fatal(err)
	}
	equal(t, lines(t, set, Options{}), "keelson@7 [   7.000] ready: 2 services running")
	next, _ := follower(t, set, Options{Names: []string{"keelson"}})
	next()
	event.At = 8 * s
	if err := timeline.Append(set.Timeline, event); err != nil {
		t.Fatal(err)
	}
	if got := next(); got != "keelson@8 [   8.000] ready: 2 services running" {
		t.Errorf("%q", got)
	}
}
