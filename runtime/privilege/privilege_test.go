package privilege

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"keelson/runtime/bundle"
)

// service is a service of a LinuxKit image, in a short form.
const service = `{"ociVersion":"1.2.1",
"process":{"user":{"uid":0,"gid":0},"args":["/usr/sbin/web"],"env":["PATH=/bin"],"cwd":"/",
  "capabilities":{"bounding":["CAP_CHOWN"],"effective":["CAP_CHOWN"],"inheritable":["CAP_CHOWN"],"permitted":["CAP_CHOWN"]},
  "rlimits":[{"type":"RLIMIT_NOFILE","soft":100,"hard":200}],"oomScoreAdj":100},
"root":{"path":"rootfs","readonly":true},
"hostname":"web",
"mounts":[
  {"destination":"/proc","type":"proc","source":"proc","options":["nosuid","nodev","noexec","relatime"]},
  {"destination":"/data","type":"bind","source":"/var/lib/web","options":["rw","rbind","rshared"]},
  {"destination":"/data/secret","type":"tmpfs","source":"tmpfs","options":["size=1m"]},
  {"destination":"/etc/web","type":"bind","source":"/etc/web","options":["ro","nosuid","rbind"]}],
"annotations":{"keelson.ready":"tcp:80","keelson.stop.timeout":"5s"},
"linux":{
  "namespaces":[{"type":"network"},{"type":"pid"},{"type":"mount"},{"type":"uts"},{"type":"ipc","path":"/run/ns/ipc"}],
  "maskedPaths":["/proc/kcore"],"readonlyPaths":["/proc/sys"],
  "resources":{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":3,"access":"rw"}],
    "memory":{"limit":1000},"pids":{"limit":10},"cpu":{"quota":50000,"period":100000,"cpus":"0"}},
  "devices":[{"path":"/dev/null","type":"c","major":1,"minor":3}],
  "seccomp":{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86_64"],
    "syscalls":[{"names":["read","write"],"action":"SCMP_ACT_ALLOW"},{"names":["ptrace"],"action":"SCMP_ACT_KILL"}]}}}`

const preparations = `{"cgroups":["web"],"mounts":[{"destination":"/var/lib/web","type":"tmpfs","source":"tmpfs"},{"destination":"/b","source":"/a","options":["bind"]}],"mkdir":["/var/lib/web"],"interfaces":[],"bindNS":{"net":"/run/netns/web"},"namespace":""}`

// load returns a bundle that was read from files.
func load(t testing.TB, config, runtime string) *bundle.Bundle {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{bundle.ConfigFile: config, bundle.RuntimeFile: runtime} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := bundle.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func compare(t testing.TB, old, new *bundle.Bundle) []Gain {
	t.Helper()
	gains, err := Compare(old, new)
	if err != nil {
		t.Fatal(err)
	}
	return gains
}

func names(gains []Gain) (all []string) {
	for _, g := range gains {
		all = append(all, g.Name())
	}
	return all
}

// Each row replaces a part of the service. Gains are those of the replaced over the first,
// back those of the first over the replaced.
var replacements = []struct {
	from, to string
	gains    []string
	back     []string
}{
	// The service's own.
	{`["/usr/sbin/web"]`, `["/bin/sh"]`, nil, nil},
	{`"PATH=/bin"`, `"PATH=/x","LD_PRELOAD=/y"`, nil, nil},
	{`"cwd":"/"`, `"cwd":"/srv","terminal":true`, nil, nil},
	{`"ociVersion":"1.2.1"`, `"ociVersion":"1.3.0"`, nil, nil},
	{`"hostname":"web"`, `"hostname":"other"`, nil, nil},
	{`tcp:80`, `exec:true`, nil, nil},
	{`"keelson.ready"`, `"keelson.requires":"db","org.opencontainers.image.version":"2","keelson.ready"`, nil, nil},

	{`"uid":0`, `"uid":1000`, []string{"process.user.uid=1000"}, []string{"process.user.uid=0"}},
	{`"gid":0`, `"gid":8`, []string{"process.user.gid=8"}, []string{"process.user.gid=0"}},
	{`"gid":0`, `"gid":0,"additionalGids":[6]`, []string{"process.user.additionalGids=6"}, nil},
	{`"permitted":["CAP_CHOWN"]`, `"permitted":["CAP_CHOWN","CAP_NET_RAW"]`, []string{"process.capabilities.permitted=CAP_NET_RAW"}, nil},
	{`"bounding":["CAP_CHOWN"],`, ``, nil, []string{"process.capabilities.bounding=CAP_CHOWN"}},
	{`"capabilities":{"bounding":["CAP_CHOWN"],"effective":["CAP_CHOWN"],"inheritable":["CAP_CHOWN"],"permitted":["CAP_CHOWN"]},`, ``,
		[]string{"process.capabilities=all"}, nil},
	{`"capabilities":{"bounding":["CAP_CHOWN"],"effective":["CAP_CHOWN"],"inheritable":["CAP_CHOWN"],"permitted":["CAP_CHOWN"]},`, `"capabilities":{},`,
		nil, []string{"process.capabilities.bounding=CAP_CHOWN", "process.capabilities.effective=CAP_CHOWN",
			"process.capabilities.inheritable=CAP_CHOWN", "process.capabilities.permitted=CAP_CHOWN"}},
	{`"soft":100`, `"soft":50`, nil, []string{"process.rlimits=RLIMIT_NOFILE:100:200"}},
	{`"hard":200`, `"hard":18446744073709551615`, []string{"process.rlimits=RLIMIT_NOFILE:100:18446744073709551615"}, nil},
	{`{"type":"RLIMIT_NOFILE","soft":100,"hard":200}`, ``, []string{"process.rlimits=RLIMIT_NOFILE:none"}, []string{"process.rlimits=RLIMIT_NOFILE:100:200"}},
	{`"oomScoreAdj":100`, `"oomScoreAdj":-5`, []string{"process.oomScoreAdj=-5"}, nil},
	{`"oomScoreAdj":100`, `"noNewPrivileges":true`, []string{"process.oomScoreAdj=none"}, []string{"process.noNewPrivileges=false"}},
	{`"oomScoreAdj":100`, `"oomScoreAdj":100,"apparmorProfile":"web"`, nil, []string{"process.apparmorProfile=none"}},
	{`"oomScoreAdj":100`, `"oomScoreAdj":100,"selinuxLabel":"x"`, []string{"process.selinuxLabel=x"}, []string{"process.selinuxLabel=none"}},
	{`"oomScoreAdj":100`, `"oomScoreAdj":100,"scheduler":{"policy":"SCHED_FIFO"}`, []string{"process.scheduler.policy=SCHED_FIFO"}, []string{"process.scheduler.policy=none"}},

	{`"readonly":true`, `"readonly":false`, []string{"root.readonly=false"}, nil},
	{`"path":"rootfs"`, `"path":"/"`, []string{"root.path=/"}, nil},
	{`"path":"rootfs"`, `"path":"lower"`, nil, nil},

	{`"source":"/etc/web"`, `"source":"/etc"`, []string{"mounts=/etc:/etc/web:nosuid,rbind,ro"}, []string{"mounts=/etc/web:/etc/web:nosuid,rbind,ro"}},
	{`["ro","nosuid","rbind"]`, `["rbind"]`, []string{"mounts=/etc/web:/etc/web:rbind"}, nil},
	{`["ro","nosuid","rbind"]`, `["nosuid","ro","noexec","rbind","private"]`, nil, []string{"mounts=/etc/web:/etc/web:nosuid,rbind,ro"}},
	{`["ro","nosuid","rbind"]`, `["ro","nosuid","rbind","rw"]`, []string{"mounts=/etc/web:/etc/web:nosuid,rbind,ro,rw"}, nil},
	{`["ro","nosuid","rbind"]`, `["rro","nosuid","rbind"]`, nil, []string{"mounts=/etc/web:/etc/web:nosuid,rbind,ro"}},
	{`"rshared"`, `"rslave"`, nil, []string{"mounts=/var/lib/web:/data:rbind,rshared,rw"}},
	{`{"destination":"/data/secret","type":"tmpfs","source":"tmpfs","options":["size=1m"]},`, ``, []string{"mounts=without tmpfs:/data/secret:size=1m"}, []string{"mounts=tmpfs:/data/secret:size=1m"}},
	{`{"destination":"/data/secret"`, `{"destination":"/tmp","type":"tmpfs","source":"tmpfs","options":["mode=1777"]},{"destination":"/data/secret"`, nil, nil},
	{`{"destination":"/data/secret"`, `{"destination":"/sys","type":"sysfs","source":"sysfs","options":["ro"]},{"destination":"/data/secret"`, []string{"mounts=sysfs:/sys:ro"}, nil},
	{`,"options":["nosuid","nodev","noexec","relatime"]`, `,"options":["nosuid","nodev","noexec","hidepid=2"]`, []string{"mounts=proc:/proc:hidepid=2,nodev,noexec,nosuid"}, []string{"mounts=proc:/proc:nodev,noexec,nosuid,relatime"}},

	{`tcp:80`, `tcp:80","com.example.x":"1`, []string{"annotations=com.example.x=1"}, []string{"annotations=com.example.x=none"}},
	{`tcp:80`, `tcp:80","keelson.role":"rescue`, []string{"annotations=keelson.role=rescue"}, []string{"annotations=keelson.role=none"}},
	{`tcp:80`, `tcp:80","keelson.seccomp":"default`, nil, []string{"annotations=keelson.seccomp=none"}},
	{`tcp:80`, `tcp:80","keelson.seccomp":"none`, nil, nil},
	{`tcp:80`, `tcp:80","keelson.listen":"tcp:80 a=udp:53`, []string{"annotations=keelson.listen=tcp:80", "annotations=keelson.listen=udp:53"}, nil},
	{`"keelson.ready":"tcp:80"`, `"keelson.listen":"tcp:x"`, []string{"annotations=keelson.listen=tcp:x"}, nil},
	{`tcp:80`, `tcp:80","keelson.delegate":"true`, []string{"annotations=keelson.delegate=true"}, nil},
	{`tcp:80`, `tcp:80","keelson.delegate":"false`, nil, nil},
	{`tcp:80`, `tcp:80","keelson.pressure":"never`, []string{"annotations=keelson.pressure=never"}, nil},
	{`tcp:80`, `tcp:80","keelson.pressure":"restart`, nil, nil},
	{`tcp:80`, `tcp:80","keelson.userns":"auto`, nil, []string{"annotations=keelson.userns=none"}},
	{`tcp:80`, `tcp:80","keelson.userns":"host`, nil, nil},
	{`"keelson.stop.timeout":"5s"`, `"keelson.stop.timeout":"4s"`, nil, []string{"annotations=keelson.stop.timeout=5s"}},
	{`"keelson.stop.timeout":"5s"`, `"keelson.stop.timeout":"5s","keelson.log.size":"1GiB"`, []string{"annotations=keelson.log.size=1GiB"}, []string{"annotations=keelson.log.size=none"}},

	{`{"type":"network"},`, ``, []string{"linux.namespaces=network:host"}, nil},
	{`{"type":"network"}`, `{"type":"network","path":"/proc/1/ns/net"}`, []string{"linux.namespaces=network:/proc/1/ns/net"}, nil},
	{`{"type":"network"},`, `{"type":"network"},{"type":"network"},`, []string{`linux.namespaces=[{"type":"network"},{"type":"network"},{"type":"pid"},{"type":"mount"},{"type":"uts"},{"path":"/run/ns/ipc","type":"ipc"}]`}, nil},
	{`{"type":"ipc","path":"/run/ns/ipc"}`, `{"type":"ipc"}`, nil, []string{"linux.namespaces=ipc:/run/ns/ipc"}},
	{`,{"type":"ipc","path":"/run/ns/ipc"}`, ``, []string{"linux.namespaces=ipc:host"}, []string{"linux.namespaces=ipc:/run/ns/ipc"}},
	{`{"type":"network"}`, `{"type":"network"},{"type":"user"}`, nil, []string{"linux.namespaces=user:host"}},
	{`{"type":"uts"},`, ``, []string{"linux.namespaces=uts:host"}, nil},
	{`"maskedPaths":["/proc/kcore"]`, `"maskedPaths":["/proc/keys"]`, []string{"linux.maskedPaths=/proc/kcore"}, []string{"linux.maskedPaths=/proc/keys"}},
	{`"readonlyPaths":["/proc/sys"]`, `"readonlyPaths":[]`, []string{"linux.readonlyPaths=/proc/sys"}, nil},
	{`"maskedPaths"`, `"rootfsPropagation":"shared","maskedPaths"`, []string{"linux.rootfsPropagation=shared"}, nil},
	{`"maskedPaths"`, `"rootfsPropagation":"private","maskedPaths"`, nil, []string{"linux.rootfsPropagation=none"}},
	{`"maskedPaths"`, `"cgroupsPath":"/init","maskedPaths"`, []string{"linux.cgroupsPath=/init"}, []string{"linux.cgroupsPath=none"}},
	{`"maskedPaths"`, `"sysctl":{"net.core.somaxconn":"1"},"maskedPaths"`, []string{"linux.sysctl.net.core.somaxconn=1"}, []string{"linux.sysctl.net.core.somaxconn=none"}},
	{`"maskedPaths"`, `"future":{"a":[1]},"maskedPaths"`, []string{"linux.future.a=[1]"}, []string{"linux.future.a=none"}},
	{`"devices":[{"path":"/dev/null"`, `"devices":[{"path":"/dev/sda","type":"b","major":8,"minor":0,"fileMode":438},{"path":"/dev/null"`, []string{`linux.devices=b 8:0 /dev/sda {"fileMode":438}`}, nil},

	{`"limit":1000`, `"limit":500`, nil, []string{"linux.resources.memory.limit=1000"}},
	{`"limit":1000`, `"limit":-1`, []string{"linux.resources.memory.limit=-1"}, nil},
	{`"limit":1000`, `"limit":0`, []string{"linux.resources.memory.limit=0"}, []string{"linux.resources.memory.limit=1000"}},
	{`"pids":{"limit":10},`, ``, []string{"linux.resources.pids.limit=none"}, nil},
	{`"quota":50000`, `"quota":60000`, []string{"linux.resources.cpu.quota=60000/100000"}, nil},
	{`"period":100000`, `"period":10000`, []string{"linux.resources.cpu.quota=50000/10000"}, nil},
	{`"quota":50000,"period":100000`, `"shares":2048`, []string{"linux.resources.cpu.shares=2048", "linux.resources.cpu.quota=none/none"}, nil},
	{`"cpus":"0"`, `"cpus":"0-3"`, []string{"linux.resources.cpu.cpus=0-3"}, []string{"linux.resources.cpu.cpus=0"}},
	{`"access":"rw"}`, `"access":"rwm"}`, []string{"linux.resources.devices=c 1:3 rwm"}, []string{"linux.resources.devices=c 1:3 rw"}},
	{`{"allow":false,"access":"rwm"},`, ``, []string{"linux.resources.devices=" + `{"access":"rwm","allow":false}`}, nil},
	{`{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":3,"access":"rw"}`, `{"allow":true,"type":"c","major":1,"minor":3,"access":"rw"},{"allow":false,"access":"rwm"}`,
		[]string{"linux.resources.devices=order"}, []string{"linux.resources.devices=order"}},

	{`"read","write"`, `"read"`, nil, []string{"linux.seccomp.syscalls=write:SCMP_ACT_ALLOW"}},
	{`{"names":["ptrace"],"action":"SCMP_ACT_KILL"}`, ``, []string{"linux.seccomp.syscalls=without ptrace:SCMP_ACT_KILL"}, nil},
	{`"SCMP_ACT_ERRNO"`, `"SCMP_ACT_LOG"`, []string{"linux.seccomp.defaultAction=SCMP_ACT_LOG"}, nil},
	{`"SCMP_ACT_ERRNO"`, `"SCMP_ACT_KILL"`, nil, []string{"linux.seccomp.defaultAction=SCMP_ACT_ERRNO"}},
	{`["SCMP_ARCH_X86_64"]`, `["SCMP_ARCH_X86_64","SCMP_ARCH_X32"]`, []string{"linux.seccomp.architectures=SCMP_ARCH_X32"}, nil},
	{`"architectures"`, `"listenerPath":"/run/x","architectures"`, []string{"linux.seccomp.listenerPath=/run/x"}, []string{"linux.seccomp.listenerPath=none"}},
	{`"hostname":"web"`, `"hostname":"web","hooks":{"poststart":[{"path":"/bin/sh"}]}`, []string{`hooks.poststart=[{"path":"/bin/sh"}]`}, []string{"hooks.poststart=none"}},
}

func TestCompare(t *testing.T) {
	old := load(t, service, preparations)
	for _, tt := range replacements {
		if strings.Count(service, tt.from) == 0 {
			t.Fatalf("%s is not in the service", tt.from)
		}
		text := strings.ReplaceAll(strings.Replace(service, tt.from, tt.to, 1), "},]", "}]")
		new := load(t, text, preparations)
		if got := names(compare(t, old, new)); !slices.Equal(got, tt.gains) {
			t.Errorf("%s in place of %s: gains %q, want %q", tt.to, tt.from, got, tt.gains)
		}
		if got := names(compare(t, new, old)); !slices.Equal(got, tt.back) {
			t.Errorf("%s in place of %s: gains %q, want %q", tt.from, tt.to, got, tt.back)
		}
	}
}

func TestCompareRuntime(t *testing.T) {
	old := load(t, service, preparations)
	for _, tt := range []struct {
		from, to string
		gains    []string
	}{
		{`["web"]`, `["web","other"]`, []string{"runtime.cgroups=other"}},
		{`"mkdir":["/var/lib/web"]`, `"mkdir":["/etc/x"]`, []string{"runtime.mkdir=/etc/x"}},
		{`"mkdir":["/var/lib/web"]`, `"mkdir":[]`, nil},
		{`"interfaces":[]`, `"interfaces":[{"name":"eth0"}]`, []string{`runtime.interfaces={"name":"eth0"}`}},
		{`"net":"/run/netns/web"`, `"net":"/run/netns/x"`, []string{"runtime.bindNS.net=/run/netns/x"}},
		{`"net":"/run/netns/web"`, ``, nil},
		{`"namespace":""`, `"namespace":"services.linuxkit"`, nil},
		{`"namespace":""`, `"namespace":"k8s"`, []string{"runtime.namespace=k8s"}},
		{`"namespace":""`, `"namespace":"","future":1`, []string{"runtime.future=1"}},
		{`"source":"/a"`, `"source":"/etc"`, []string{"runtime.mounts=/etc:/b:bind"}},
		{`{"destination":"/var/lib/web","type":"tmpfs","source":"tmpfs"},{"destination":"/b","source":"/a","options":["bind"]}`,
			`{"destination":"/b","source":"/a","options":["bind"]},{"destination":"/var/lib/web","type":"tmpfs","source":"tmpfs"}`, []string{"runtime.mounts=order"}},
		{`{"destination":"/var/lib/web","type":"tmpfs","source":"tmpfs"},`, ``, nil},
	} {
		if strings.Count(preparations, tt.from) != 1 {
			t.Fatalf("%s is not once in the preparations", tt.from)
		}
		new := load(t, service, strings.Replace(preparations, tt.from, tt.to, 1))
		if got := names(compare(t, old, new)); !slices.Equal(got, tt.gains) {
			t.Errorf("%s in place of %s: gains %q, want %q", tt.to, tt.from, got, tt.gains)
		}
	}
}

// A runtime reads names in any case and merges objects that occur twice, so a field that
// is written in such a way could hide from the comparison.
func TestHiddenFields(t *testing.T) {
	old := load(t, service, preparations)
	for _, text := range []string{
		strings.Replace(service, `"root":`, `"Hooks":{"poststart":[{"path":"/bin/sh"}]},"root":`, 1),
		strings.Replace(service, `"root":`, `"hooks":{"poststart":[{"path":"/bin/sh"}]},"hooks":{},"root":`, 1),
		strings.Replace(service, `"root":`, `"mounts":[{"destination":"/host","type":"bind","source":"/"}],"root":`, 1),
		strings.Replace(service, `"uid":0,`, `"uid":0,"UID":7,`, 1),
		strings.Replace(service, `"permitted":["CAP_CHOWN"]`, `"permitted":["CAP_CHOWN"],"Permitted":["CAP_SYS_ADMIN"]`, 1),
		strings.Replace(service, `"hostname"`, `"runtime":{"mkdir":["/x"]},"hostname"`, 1),
	} {
		b := load(t, text, preparations)
		var hidden bool
		for _, m := range b.Spec.Mounts {
			hidden = hidden || m.Source == "/"
		}
		gains := compare(t, old, b)
		if len(gains) == 0 && (hidden || !strings.Contains(text, `"source":"/"}`)) {
			t.Errorf("no gain for %s", text)
		}
	}
	b := load(t, service, strings.Replace(preparations, `"mkdir"`, `"Mkdir":["/x"],"cgroups":["web"],"mkdir"`, 1))
	if b.Runtime.Mkdir[0] == "/x" && len(compare(t, old, b)) == 0 {
		t.Error("no gain for a folder that is hidden")
	}
}

// A relative source leads out of each of two bundles to another place.
func TestRelativeSource(t *testing.T) {
	text := func(source string) string {
		return strings.Replace(service, `"source":"/etc/web"`, `"source":"`+source+`"`, 1)
	}
	if gains := compare(t, load(t, text("etc"), "{}"), load(t, text("etc"), "{}")); len(gains) > 0 {
		t.Errorf("gains %q for a source in the bundle", names(gains))
	}
	elsewhere := load(t, text("../x"), "{}")
	elsewhere.Dir = "/elsewhere/web"
	if gains := compare(t, load(t, text("../x"), "{}"), elsewhere); len(gains) != 1 {
		t.Errorf("gains %q for a source outside the bundle", names(gains))
	}
}

func TestCompareAddedService(t *testing.T) {
	const plain = `{"ociVersion":"1.2.1","process":{"args":["/a"],"cwd":"/","capabilities":{}},"root":{"path":"rootfs"},
"linux":{"namespaces":[{"type":"network"},{"type":"ipc"},{"type":"uts"},{"type":"pid"},{"type":"mount"}]}}`
	if gains := compare(t, nil, load(t, plain, "{}")); len(gains) > 0 {
		t.Errorf("gains %q of a service without privileges", names(gains))
	}
	want := []string{"linux.namespaces=network:host", "process.capabilities=all"}
	shared := strings.Replace(strings.Replace(plain, `{"type":"network"},`, "", 1), `,"capabilities":{}`, "", 1)
	if got := names(compare(t, nil, load(t, shared, "{}"))); !slices.Equal(got, want) {
		t.Errorf("gains %q, want %q", got, want)
	}
}

// Without a filter in config.json, keelson.seccomp makes one. Whatever takes its place is a
// gain.
func TestDefaultFilter(t *testing.T) {
	config := func(annotation, filter string) string {
		return `{"process":{"args":["/x"]},"root":{"path":"rootfs"},"annotations":{` + annotation + `},"linux":{` + filter + `}}`
	}
	const (
		on, off, unknown = `"keelson.seccomp":"default"`, `"keelson.seccomp":"none"`, `"keelson.seccomp":"x"`
		own, empty       = `"seccomp":{"defaultAction":"SCMP_ACT_ALLOW"}`, `"seccomp":{}`
	)
	for _, c := range []struct {
		old, new string
		want     []string
	}{
		{config(on, ""), config(on, ""), nil},
		{config("", ""), config(on, ""), nil},
		{config(off, ""), config(unknown, ""), nil},
		{config(on, ""), config("", ""), []string{"annotations=keelson.seccomp=none"}},
		{config(on, ""), config(off, ""), []string{"annotations=keelson.seccomp=none"}},
		{config(on, ""), config(unknown, ""), []string{"annotations=keelson.seccomp=x"}},
		{config(on, ""), config(on, own), []string{"linux.seccomp=own"}},
		{config(on, ""), config("", own), []string{"annotations=keelson.seccomp=none", "linux.seccomp=own"}},
		{config(on, ""), config(on, empty), nil},
		{config(off, ""), config(on, own), nil},
		{config("", own), config(on, ""), []string{"linux.seccomp=none"}},
		{config(on, own), config(on, own), nil},
	} {
		if got := names(compare(t, load(t, c.old, "{}"), load(t, c.new, "{}"))); !slices.Equal(got, c.want) {
			t.Errorf("%s\n%s\ngot  %q\nwant %q", c.old, c.new, got, c.want)
		}
	}
}

// keelson.capabilities stands for the capabilities that the service gets.
func TestCapabilitySets(t *testing.T) {
	config := func(annotation, caps string) string {
		return `{"process":{"args":["/x"]` + caps + `},"root":{"path":"rootfs"},"annotations":{` + annotation + `}}`
	}
	const (
		docker, podman, none = `"keelson.capabilities":"docker-default"`, `"keelson.capabilities":"podman-default"`, `"keelson.capabilities":"none"`
		admin                = `,"capabilities":{"bounding":["CAP_SYS_ADMIN"],"effective":["CAP_SYS_ADMIN"],"permitted":["CAP_SYS_ADMIN"]}`
		chown                = `,"capabilities":{"bounding":["CAP_CHOWN"],"effective":["CAP_CHOWN"],"permitted":["CAP_CHOWN"],"inheritable":["CAP_CHOWN"]}`
	)
	of := func(capabilities ...string) (gains []string) {
		for _, set := range []string{"bounding", "effective", "permitted"} {
			for _, c := range capabilities {
				gains = append(gains, "process.capabilities."+set+"="+c)
			}
		}
		return gains
	}
	for _, c := range []struct {
		old, new string
		want     []string
	}{
		{config(docker, ""), config(podman, ""), nil},
		{config(docker, ""), config(none, admin), nil},
		{config("", admin), config(none, ""), nil},
		{config(docker, ""), config("", chown), []string{"process.capabilities.inheritable=CAP_CHOWN"}},
		{config(podman, ""), config(docker, ""), of("CAP_AUDIT_WRITE", "CAP_MKNOD", "CAP_NET_RAW")},
		{config(none, admin), config("", admin), of("CAP_SYS_ADMIN")},
		{config(docker, ""), config("", ""), []string{"process.capabilities=all"}},
		{config("", ""), config(docker, ""), nil},
	} {
		got := names(compare(t, load(t, c.old, "{}"), load(t, c.new, "{}")))
		slices.Sort(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s\n%s\ngot  %q\nwant %q", c.old, c.new, got, c.want)
		}
	}
}
