package lease

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"keelson/runtime/durable"
)

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "dhcp.json")
	if r, err := ReadRequest(file); err != nil || len(r.Links) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	want := Request{Links: []Link{{Name: "eth0", DHCP4: &Options{Metric: 100, UseRoutes: true}}}}
	if err := WriteRequest(file, want); err != nil {
		t.Fatal(err)
	}
	if r, err := ReadRequest(file); err != nil || !reflect.DeepEqual(r, want) {
		t.Errorf("%+v, %v", r, err)
	}
	for range 2 {
		if err := WriteRequest(file, Request{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("an empty request has a file")
	}

	l := Lease{
		Link: "eth0.5", Family: 4, Address: netip.MustParsePrefix("192.0.2.7/24"), Routers: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
		Routes: []Route{{To: netip.MustParsePrefix("10.0.0.0/8")}}, Expires: 10 * time.Second,
	}
	if err := Write(dir, l, durable.WriteFile); err != nil {
		t.Fatal(err)
	}
	if got, known, err := Read(dir, "eth0.5", 4); err != nil || !known || !reflect.DeepEqual(got, l) {
		t.Errorf("%+v, %v, %v", got, known, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "eth1.6.json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "eth2.4.json"), []byte(`{"link":"eth0","family":4}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if all, err := ReadAll(dir); err == nil || len(all) != 1 {
		t.Errorf("%+v, %v", all, err)
	}
	if left := l.Left(4 * time.Second); left != 6*time.Second {
		t.Error(left)
	}
	if left := l.Left(time.Minute); left != 0 {
		t.Error(left)
	}
	for range 2 {
		if err := Remove(dir, "eth0.5", 4); err != nil {
			t.Fatal(err)
		}
	}
	if _, known, err := Read(dir, "eth0.5", 4); known || err != nil {
		t.Error(known, err)
	}
	if all, err := ReadAll(filepath.Join(dir, "none")); err != nil || all != nil {
		t.Error(all, err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"link":"eth0","family":4,"address":"192.0.2.7/24","routes":[{"to":"10.0.0.0/8"}],"expires":5}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "eth0.4.json"), text, 0o644); err != nil {
			t.Fatal(err)
		}
		if l, known, err := Read(dir, "eth0", 4); known && err == nil && (l.Link != "eth0" || l.Family != 4) {
			t.Errorf("%+v", l)
		}
		_, _ = ReadAll(dir)
	})
}
