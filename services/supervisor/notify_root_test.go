package supervisor

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"keelson/services/control"
	"keelson/testvm/nstest"
)

// edit changes the config.json of a bundle.
func (s *system) edit(name string, change func(*specs.Spec)) {
	s.t.Helper()
	path := filepath.Join(s.dir, name, "config.json")
	text, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	var spec specs.Spec
	if err := json.Unmarshal(text, &spec); err != nil {
		s.t.Fatal(err)
	}
	change(&spec)
	if text, err = json.Marshal(spec); err != nil {
		s.t.Fatal(err)
	}
	s.write(path, string(text))
}

// hostNetwork puts a container in the network namespace of the system.
func hostNetwork(spec *specs.Spec) {
	var left []specs.LinuxNamespace
	for _, ns := range spec.Linux.Namespaces {
		if ns.Type != specs.NetworkNamespace {
			left = append(left, ns)
		}
	}
	spec.Linux.Namespaces = left
}

// ownUsers gives a container a user namespace.
func ownUsers(spec *specs.Spec) {
	spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	all := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
	spec.Linux.UIDMappings, spec.Linux.GIDMappings = all, all
}

// hostDev binds the system's /dev.
func hostDev(spec *specs.Spec) {
	for i, m := range spec.Mounts {
		if m.Destination == "/dev" {
			spec.Mounts[i] = specs.Mount{Destination: "/dev", Source: "/dev", Type: "bind", Options: []string{"rbind"}}
		}
	}
}

// No process that shares the network namespace, or sees the files of the system, can take
// the notification socket of a service or send to it. The socket works again after a
// restart of the service and of the supervisor.
func TestNotifySocketIsPrivate(t *testing.T) {
	testapp := buildTestapp(t)
	nstest.Run(t, func(t *testing.T) {
		s := prepareSystem(t)
		if err := os.Chmod(filepath.Join(s.dir, "../.."), 0o755); err != nil { // for the users of containers
			t.Fatal(err)
		}
		services := map[string]func(*specs.Spec){
			"plain":  func(*specs.Spec) {},
			"host":   hostNetwork,
			"shared": func(spec *specs.Spec) { hostNetwork(spec); spec.Linux.RootfsPropagation = "rshared" },
			"ro": func(spec *specs.Spec) {
				hostNetwork(spec)
				spec.Root.Readonly = true
				spec.Mounts[1].Options = append(spec.Mounts[1].Options, "ro")
			},
			"user": func(spec *specs.Spec) { ownUsers(spec); spec.Process.User = specs.User{UID: 1000, GID: 1000} },
			"dev":  func(spec *specs.Spec) { hostNetwork(spec); hostDev(spec) },
		}
		for name, change := range services {
			s.add(name, "echo $NOTIFY_SOCKET; n=0; trap 'exit 0' TERM; "+
				"while :; do testapp notify READY=1 STATUS=$((n+=1)); sleep 0.05; done",
				map[string]string{"keelson.ready": "notify", "keelson.ready.timeout": "1m"})
			s.addTestapp(name, testapp)
			s.edit(name, change)
			squat, err := net.ListenPacket("unixgram", "@keelson/"+name)
			if err != nil {
				t.Fatal(err)
			}
			defer squat.Close()
		}
		s.begin()
		seen := map[string]bool{}
		look := func(starts int) {
			t.Helper()
			for name := range services {
				s.until(name, "running", running)
				var said []string // It may reach the log later than the message reaches the supervisor.
				for deadline := time.Now().Add(time.Minute); len(said) < starts && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
					text, _ := os.ReadFile("/var/log/" + name + ".out.log")
					said = strings.Fields(string(text))
				}
				if len(said) != starts {
					t.Fatalf("%s: its log holds %q after %d starts", name, said, starts)
				}
				socket := said[starts-1]
				named := name == "dev" || name == "shared"
				if named && (seen[socket] || !strings.HasPrefix(socket, "@keelson/"+name+"/")) || !named && socket != "/dev/keelson/notify" {
					t.Errorf("%s has the socket %s", name, socket)
				}
				seen[socket] = true
				for _, path := range []string{"/dev/keelson", filepath.Join(s.dir, name, "rootfs/dev/keelson/notify")} {
					if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
						t.Errorf("%s: the system has %s: %v", name, path, err)
					}
				}
			}
		}
		look(1)
		for name := range services {
			s.ask(control.Restart, name)
		}
		look(2)
		_ = s.supervisor.Process.Kill()
		_ = s.supervisor.Wait()
		s.supervise()
		for name := range services {
			was := s.until(name, "there", func(control.Service) bool { return true }).Status
			s.until(name, "heard", func(v control.Service) bool { return running(v) && v.Status != "" && v.Status != was })
		}
	})
}

// What a service reports while no supervisor runs reaches the next one, whether the sender
// has ended by then or not.
func TestReadyBetweenSupervisors(t *testing.T) {
	testapp := buildTestapp(t)
	nstest.Run(t, func(t *testing.T) {
		s := prepareSystem(t)
		services := map[string]func(*specs.Spec){
			"folder": func(*specs.Spec) {},
			"named":  func(spec *specs.Spec) { hostNetwork(spec); spec.Linux.RootfsPropagation = "rshared" },
		}
		for name, change := range services {
			s.add(name, "trap 'exit 0' TERM; until [ -e /go ]; do sleep 0.02; done; "+
				"testapp notify STATUS=sent; testapp ready /sent x & until [ -e /stop ]; do sleep 0.02; done", map[string]string{"keelson.ready": "notify"})
			s.addTestapp(name, testapp)
			s.edit(name, change)
		}
		s.begin()
		pids := map[string]int{}
		for name := range services {
			pids[name] = s.until(name, "started", func(v control.Service) bool { return v.PID != 0 }).PID
		}
		_ = s.supervisor.Process.Kill()
		_ = s.supervisor.Wait()
		for name := range services {
			s.write(filepath.Join(s.dir, name, "rootfs/go"), "")
			sent := filepath.Join(s.dir, name, "rootfs/sent")
			for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
				if _, err := os.Stat(sent); err == nil {
					break
				}
				if time.Now().After(deadline) {
					s.fail("%s has sent nothing", name)
				}
			}
		}
		s.supervise()
		for name := range services {
			if v := s.until(name, "running", running); v.PID != pids[name] {
				t.Errorf("%s: process %d, was %d", name, v.PID, pids[name])
			}
		}
		s.end()
	})
}
