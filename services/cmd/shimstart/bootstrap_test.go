package main

import (
	"testing"

	bootstrap "github.com/containerd/containerd/api/runtime/bootstrap/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

func TestParse(t *testing.T) {
	sockets := "/run/s"
	full := &bootstrap.BootstrapParams{
		InstanceID: "web", Namespace: "ns", LogLevel: bootstrap.LogLevel_LOG_LEVEL_WARN, ContainerdVersion: "2",
		ContainerdTtrpcAddress: "/t", ContainerdGrpcAddress: "/g", ContainerdBinary: "/b", SocketDir: &sockets,
	}
	for name, tt := range map[string]struct {
		change func(*bootstrap.BootstrapParams)
		want   params
		ok     bool
	}{
		"all":        {func(*bootstrap.BootstrapParams) {}, params{id: "web", namespace: "ns", address: "/g", socketDir: "/run/s", level: 4}, true},
		"debug":      {func(b *bootstrap.BootstrapParams) { b.LogLevel = bootstrap.LogLevel_LOG_LEVEL_DEBUG }, params{id: "web", namespace: "ns", address: "/g", socketDir: "/run/s", level: -4}, true},
		"extensions": {func(b *bootstrap.BootstrapParams) { b.Extensions = []*bootstrap.Extension{{Value: &anypb.Any{}}} }, params{id: "web", namespace: "ns", address: "/g", socketDir: "/run/s", level: 4, extensions: true}, true},
		"no name":    {func(b *bootstrap.BootstrapParams) { b.InstanceID = "" }, params{namespace: "ns", address: "/g", socketDir: "/run/s", level: 4}, false},
	} {
		b := proto.CloneOf(full)
		tt.change(b)
		text, err := proto.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := parse(text); got != tt.want || ok != tt.ok {
			t.Errorf("%s: got %+v, %v", name, got, ok)
		}
		if _, ok := parse(text[:len(text)-1]); ok {
			t.Errorf("%s: accepted although it is cut off", name)
		}
	}
	if _, ok := parse([]byte(`{"instance_id":"web","namespace":"ns"}`)); ok {
		t.Error("JSON is accepted")
	}
}

func TestResult(t *testing.T) {
	var got bootstrap.BootstrapResult
	if err := proto.Unmarshal(result("unix:///run/s/x"), &got); err != nil {
		t.Fatal(err)
	}
	if got.Version != 3 || got.Address != "unix:///run/s/x" || got.Protocol != "ttrpc" {
		t.Errorf("got %v", &got)
	}
}

func TestHasOwnShim(t *testing.T) {
	for spec, want := range map[string]bool{
		`{}`: true,
		`{"process":{"args":["echo \u003c2\u003e \u0026"]}}`:            true,
		`{"annotations":{"io.containerd.runc.v2.group":"a"}}`:           false,
		`{"annotations":{"io.kubernetes.cri.sandbox-id":"a"}}`:          false,
		`{"annotations":{"io.containerd.runc.v2.gr\u006fup":"a"}}`:      false,
		`{"annotations":{"keelson.restart":"always","other":"\u2028"}}`: true,
	} {
		if got := hasOwnShim([]byte(spec)); got != want {
			t.Errorf("%s: %v", spec, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{10, 1, 'a', 18, 1, 'b'})
	f.Add([]byte{24, 252, 255, 255, 255, 255, 255, 255, 255, 255, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, ok := parse(b)
		if ok && (p.id == "" || p.namespace == "") {
			t.Errorf("got %+v", p)
		}
		var real bootstrap.BootstrapParams
		if ok && proto.Unmarshal(b, &real) == nil && (real.InstanceID != p.id || real.Namespace != p.namespace || int32(real.LogLevel) != p.level) {
			t.Errorf("got %+v of %v", p, &real)
		}
	})
}
