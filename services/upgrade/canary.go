package upgrade

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"

	"keelson/runtime/paths"
	"keelson/services/connection"
	"keelson/services/containerd"
)

// The container by which a trial checks containerd, shim and runc. It is in a namespace of
// containerd that no service has.
const (
	canaryName      = "canary"
	canaryNamespace = "keelson.programs"
)

// canary makes, starts, awaits and deletes a container that prints the version of the
// supervisor.
func (u *Upgrade) canary(ctx context.Context) error {
	root := filepath.Join(u.State, canaryName)
	if err := os.MkdirAll(root, 0o755); err != nil {
		return fmt.Errorf("cannot make a container: %w", err)
	}
	defer os.RemoveAll(root)
	text, err := json.Marshal(canarySpec(root))
	if err != nil {
		return fmt.Errorf("cannot make a container: %w", err)
	}
	tasks, err := u.host.Tasks(ctx)
	if err != nil {
		return err
	}
	if err := runCanary(ctx, tasks, text); err != nil {
		return errors.Join(err, tasks.Delete(context.WithoutCancel(ctx), canaryNamespace, canaryName))
	}
	return tasks.Delete(ctx, canaryNamespace, canaryName)
}

func runCanary(ctx context.Context, tasks connection.Tasks, text []byte) error {
	spec := containerd.Spec{ID: canaryName, Namespace: canaryNamespace, JSON: text}
	_, err := tasks.Create(ctx, spec)
	if errors.Is(err, containerd.ErrNoKeyring) {
		spec.NoNewKeyring = true
		_, err = tasks.Create(ctx, spec)
	}
	if err == nil {
		err = tasks.Start(ctx, canaryNamespace, canaryName)
	}
	if err != nil {
		return fmt.Errorf("cannot run a container: %w", err)
	}
	exit, err := tasks.Wait(ctx, canaryNamespace, canaryName)
	if err == nil && exit.Code != 0 {
		err = fmt.Errorf("a container exited %d", exit.Code)
	}
	return err
}

// canarySpec is the configuration of the container, whose root is an empty folder.
func canarySpec(root string) *specs.Spec {
	const program = "/service"
	return &specs.Spec{
		Version:  specs.Version,
		Root:     &specs.Root{Path: root},
		Hostname: canaryName,
		Process: &specs.Process{
			Args: []string{program, "version"}, Cwd: "/", Env: []string{"PATH=/"}, NoNewPrivileges: true,
			Capabilities: &specs.LinuxCapabilities{},
		},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "nodev", "noexec"}},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "mode=755", "size=64k"}},
			{Destination: program, Type: "bind", Source: paths.Service, Options: []string{"bind", "ro"}},
		},
		Linux: &specs.Linux{
			CgroupsPath: "/keelson-" + canaryName,
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace}, {Type: specs.MountNamespace}, {Type: specs.IPCNamespace},
				{Type: specs.UTSNamespace}, {Type: specs.NetworkNamespace},
			},
		},
	}
}
