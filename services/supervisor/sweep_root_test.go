package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/bundle"
	"keelson/runtime/paths"
	"keelson/runtime/procfs"
	"keelson/services/containerd"
	"keelson/services/control"
	"keelson/testvm/nstest"
)

const sleeping = "trap 'exit 0' TERM; while :; do sleep 0.05; done"

// Supervisor and containerd have died, and services do not exist any more or are stopped. What is
// left of their containers is removed, whatever it is: containerd does not know it.
func TestLeftoversOfRemovedServices(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		left := []string{"whole", "shimless", "alone", "halted"}
		services := map[string]string{"other": counting}
		for _, name := range left {
			services[name] = sleeping
		}
		s := newSystem(t, services, map[string]string{"keelson.stop.timeout": "50ms"})
		other := s.until("other", "running", running)
		pids := map[string]int{}
		for _, name := range left {
			pids[name] = s.until(name, "running", running).PID
		}
		foreign := s.foreignTask("foreign", "")
		_ = s.foreignTask("known", "whoever") // of a service that does not exist any more
		s.killAll()
		s.killShimOf("shimless")
		kill(t, pids["alone"]) // Its shim runs.
		for _, name := range left {
			s.forget(name)
		}
		for _, name := range left[:3] {
			s.removeService(name)
		}
		s.write(filepath.Join("/run/keelson/state", "halted.json"), `{"state":"stopped"}`)
		if err := os.MkdirAll(filepath.Join(taskBundles, ".deleted/rootfs"), 0o700); err != nil {
			t.Fatal(err)
		}
		late := s.lateShim("late")
		s.startContainerd()
		s.supervise()
		s.untilSwept(append(left, "known", "late", "deleted"))
		_ = late.Wait()
		if now := s.until("other", "running", running); now.PID != other.PID {
			t.Errorf("the other service was %+v and is %+v", other, now)
		}
		if v := s.until("halted", "known", func(control.Service) bool { return true }); v.State != "stopped" {
			t.Errorf("the stopped service is %+v", v)
		}
		if procfs.Ended("/proc", foreign) {
			t.Error("the container of another client was removed")
		}
		s.end()
	})
}

// The same when only containerd dies, while the service was ordered to stop.
func TestLeftoversOfKilledContainerd(t *testing.T) {
	nstest.Run(t, func(t *testing.T) {
		s := newSystem(t, map[string]string{"web": sleeping, "other": counting}, nil)
		other := s.until("other", "running", running)
		s.until("web", "running", running)
		if r := s.ask(control.Stop, "web"); r.Code != 0 {
			s.fail("stop: %+v", r)
		}
		_ = s.foreignTask("web", "web") // What a start that was interrupted would leave.
		_ = s.containerd.Process.Kill()
		_ = s.containerd.Wait()
		s.forget("web")
		s.startContainerd()
		s.untilSwept([]string{"web"})
		s.untilReported("web")          // Nothing is left before the sweep has ended.
		_ = s.foreignTask("web", "web") // containerd may know it, too.
		s.killContainerd()
		s.untilSwept([]string{"web"})
		if r := s.ask(control.Start, "web"); r.Code != 0 {
			s.fail("start: %+v", r)
		}
		if now := s.until("other", "running", running); now.PID != other.PID {
			t.Errorf("the other service was %+v and is %+v", other, now)
		}
		s.end()
	})
}

const (
	taskBundles = paths.ContainerdState + "/io.containerd.runtime.v2.task/" + bundle.DefaultNamespace
	runcState   = paths.ContainerdState + "/runc/" + bundle.DefaultNamespace
)

// killAll kills supervisor and containerd and starts neither.
func (s *system) killAll() {
	s.t.Helper()
	for _, cmd := range []*exec.Cmd{s.supervisor, s.containerd} {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

func (s *system) killShimOf(id string) {
	s.t.Helper()
	for _, pid := range processes(s.t, "\x00-id\x00"+id+"\x00") {
		kill(s.t, pid)
		for !procfs.Ended("/proc", pid) {
			time.Sleep(time.Millisecond)
		}
	}
}

// forget removes the bundle of a task, by which the next containerd would find it.
func (s *system) forget(id string) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		err := os.RemoveAll(filepath.Join(taskBundles, id))
		if err == nil {
			return
		}
		if !errors.Is(err, unix.ENOTEMPTY) || time.Now().After(deadline) { // Its shim may write a log there.
			s.t.Fatal(err)
		}
	}
}

// removeService removes a service from the image.
func (s *system) removeService(name string) {
	s.t.Helper()
	_ = unix.Unmount(filepath.Join(s.dir, name, "rootfs"), unix.MNT_DETACH)
	if err := os.RemoveAll(filepath.Join(s.dir, name)); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Remove(filepath.Join("/run/keelson/state", name+".json")); err != nil {
		s.t.Fatal(err)
	}
}

// foreignTask starts a container that the supervisor has not made, and returns its first process.
func (s *system) foreignTask(id, service string) (pid int) {
	s.t.Helper()
	dir := filepath.Join(s.t.TempDir(), id)
	nstest.Bundle(s.t, dir, sleeping, nil, "")
	b, err := bundle.Load(dir)
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := b.Edited(bundle.Edit{})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	c, err := containerd.Dial(ctx, paths.ContainerdSocket, "")
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	pid, err = c.Create(ctx, containerd.Spec{ID: id, Namespace: bundle.DefaultNamespace, Service: service, JSON: text, NoNewKeyring: true})
	if err == nil {
		err = c.Start(ctx, bundle.DefaultNamespace, id)
	}
	if err != nil {
		s.fail("container %s: %v", id, err)
	}
	return pid
}

// lateShim starts a program that has not started its shim yet when containerd is killed.
func (s *system) lateShim(id string) *exec.Cmd {
	s.t.Helper()
	cmd := exec.Command(nstest.Guest(s.t, "usr/bin/containerd-shim-runc-v2"),
		"-namespace", bundle.DefaultNamespace, "-id", id, "-address", paths.ContainerdSocket, "start")
	_, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return cmd
}

// untilSwept waits until nothing is left of tasks.
func (s *system) untilSwept(ids []string) {
	s.t.Helper()
	var left []string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if left = s.leftOf(ids); len(left) == 0 {
			return
		}
	}
	s.fail("left: %q", left)
}

// untilReported waits until the supervisor has told that it removed a container.
func (s *system) untilReported(id string) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		for line := range strings.Lines(logOf(s.t, "supervisor.log")) {
			if strings.Contains(line, "removed a container that nobody used") && strings.HasSuffix(line, " container="+id+"\n") {
				return
			}
		}
	}
	s.fail("the sweep of %s was not reported", id)
}

func (s *system) leftOf(ids []string) (left []string) {
	s.t.Helper()
	other, err := bundle.Load(filepath.Join(s.dir, "other"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, id := range ids {
		for _, pid := range processes(s.t, "\x00-id\x00"+id+"\x00") {
			left = append(left, fmt.Sprintf("shim %d of %s", pid, id))
		}
		for _, path := range []string{
			filepath.Join(taskBundles, id), filepath.Join(taskBundles, "."+id), filepath.Join(runcState, id),
			filepath.Join("/sys/fs/cgroup", filepath.Dir(other.Cgroup("other")), id),
		} {
			if _, err := os.Lstat(path); err == nil {
				left = append(left, path)
			}
		}
	}
	return left
}
