package containerd

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"syscall"
	"time"

	containersapi "github.com/containerd/containerd/api/services/containers/v1"
	namespacesapi "github.com/containerd/containerd/api/services/namespaces/v1"
	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"
	versionapi "github.com/containerd/containerd/api/services/version/v1"
	"github.com/containerd/containerd/api/types/runc/options"
	"google.golang.org/protobuf/types/known/emptypb"
)

// TaskStatus is a task with its status as containerd names it: CREATED, RUNNING,
// STOPPED, PAUSED, PAUSING or UNKNOWN.
type TaskStatus struct {
	ID     string
	PID    int
	Status string
}

// Process is a process of a task.
type Process struct {
	PID    int
	ExecID string // ID of the ExecSpec that started it; empty: none did
}

// Container is the record of a container.
type Container struct {
	ID, Image, Runtime    string
	Labels                map[string]string
	Spec                  json.RawMessage // OCI runtime spec
	Snapshotter, Snapshot string
	CreatedAt, UpdatedAt  time.Time
}

// Namespace is a namespace of containerd.
type Namespace struct {
	Name   string
	Labels map[string]string
}

// Connect is Dial without waiting: it fails when nothing listens on socket.
func Connect(ctx context.Context, socket string) (*Client, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("cannot reach containerd: %w", err)
	}
	_ = conn.Close()
	return Dial(ctx, socket, "")
}

// TaskStatuses returns the tasks of a namespace.
func (c *Client) TaskStatuses(ctx context.Context, namespace string) ([]TaskStatus, error) {
	r, err := c.tasks.List(withNamespace(ctx, namespace), &tasksapi.ListTasksRequest{})
	if err != nil {
		return nil, failed("cannot list tasks", err)
	}
	var all []TaskStatus
	for _, t := range r.GetTasks() {
		all = append(all, TaskStatus{t.GetID(), int(t.GetPid()), t.GetStatus().String()})
	}
	return all, nil
}

// Processes returns the processes of a task.
func (c *Client) Processes(ctx context.Context, namespace, id string) ([]Process, error) {
	r, err := c.tasks.ListPids(withNamespace(ctx, namespace), &tasksapi.ListPidsRequest{ContainerID: id})
	if err != nil {
		return nil, failed("cannot list processes of task "+id, err)
	}
	var all []Process
	for _, p := range r.GetProcesses() {
		var details options.ProcessDetails
		if p.GetInfo() != nil {
			_ = p.GetInfo().UnmarshalTo(&details) // Details of other runtimes are left out.
		}
		all = append(all, Process{int(p.GetPid()), details.GetExecID()})
	}
	return all, nil
}

// Signal sends a signal to the first process of a task, to all its processes, or to the
// process that Exec has started as execID.
func (c *Client) Signal(ctx context.Context, namespace, id, execID string, sig syscall.Signal, all bool) error {
	_, err := c.tasks.Kill(withNamespace(ctx, namespace), &tasksapi.KillRequest{ContainerID: id, ExecID: execID, Signal: uint32(sig), All: all})
	if err != nil {
		return failed("cannot signal task "+id, err)
	}
	return nil
}

// Pause freezes the processes of a task.
func (c *Client) Pause(ctx context.Context, namespace, id string) error {
	if _, err := c.tasks.Pause(withNamespace(ctx, namespace), &tasksapi.PauseTaskRequest{ContainerID: id}); err != nil {
		return failed("cannot pause task "+id, err)
	}
	return nil
}

// Resume thaws the processes of a task.
func (c *Client) Resume(ctx context.Context, namespace, id string) error {
	if _, err := c.tasks.Resume(withNamespace(ctx, namespace), &tasksapi.ResumeTaskRequest{ContainerID: id}); err != nil {
		return failed("cannot resume task "+id, err)
	}
	return nil
}

// Containers returns the containers of a namespace.
func (c *Client) Containers(ctx context.Context, namespace string) ([]Container, error) {
	r, err := c.containers.List(withNamespace(ctx, namespace), &containersapi.ListContainersRequest{})
	if err != nil {
		return nil, failed("cannot list containers", err)
	}
	var all []Container
	for _, one := range r.GetContainers() {
		all = append(all, container(one))
	}
	return all, nil
}

// Container returns one container.
func (c *Client) Container(ctx context.Context, namespace, id string) (Container, error) {
	r, err := c.containers.Get(withNamespace(ctx, namespace), &containersapi.GetContainerRequest{ID: id})
	if err != nil {
		return Container{}, failed("cannot get container "+id, err)
	}
	return container(r.GetContainer()), nil
}

func container(c *containersapi.Container) Container {
	return Container{
		ID: c.GetID(), Image: c.GetImage(), Runtime: c.GetRuntime().GetName(), Labels: c.GetLabels(),
		Spec: c.GetSpec().GetValue(), Snapshotter: c.GetSnapshotter(), Snapshot: c.GetSnapshotKey(),
		CreatedAt: c.GetCreatedAt().AsTime(), UpdatedAt: c.GetUpdatedAt().AsTime(),
	}
}

// Namespaces returns all namespaces.
func (c *Client) Namespaces(ctx context.Context) ([]Namespace, error) {
	r, err := namespacesapi.NewNamespacesClient(c.conn).List(ctx, &namespacesapi.ListNamespacesRequest{})
	if err != nil {
		return nil, failed("cannot list namespaces", err)
	}
	var all []Namespace
	for _, n := range r.GetNamespaces() {
		all = append(all, Namespace{n.GetName(), n.GetLabels()})
	}
	return all, nil
}

// Version returns the daemon's version and revision.
func (c *Client) Version(ctx context.Context) (version, revision string, err error) {
	r, err := versionapi.NewVersionClient(c.conn).Version(ctx, &emptypb.Empty{})
	if err != nil {
		return "", "", failed("cannot get containerd's version", err)
	}
	return r.GetVersion(), r.GetRevision(), nil
}
