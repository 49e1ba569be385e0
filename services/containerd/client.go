package containerd

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	containersapi "github.com/containerd/containerd/api/services/containers/v1"
	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/api/types/task"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

const (
	// runtimeName is the shim's name: containerd looks for
	// containerd-shim-runc-v2 on its PATH.
	runtimeName = "io.containerd.runc.v2"
	specType    = "types.containerd.io/opencontainers/runtime-spec/1/Spec"
	// optionsType is what typeurl calls the type: its full name in protobuf.
	optionsType = "containerd.runc.v1.Options"
	// namespaceHeader carries the namespace of a call.
	namespaceHeader = "containerd-namespace"
)

// Client is a connection to containerd. It reconnects when the daemon is started
// again; calls fail with ErrUnavailable until then.
type Client struct {
	socket     string
	runtime    string // path of the OCI runtime, by which left containers are deleted; empty: they are not
	making     locks  // IDs that Create is making, with their namespaces
	conn       *grpc.ClientConn
	containers containersapi.ContainersClient
	tasks      tasksapi.TasksClient
}

// Spec describes a task to create.
type Spec struct {
	ID        string
	Namespace string
	JSON      []byte // OCI runtime spec with an absolute root.path
	Stdout    string // absolute path of an existing FIFO or file; empty: discarded
	Stderr    string
	Terminal  bool // must equal process.terminal of JSON

	Service string // the service that the container is for; empty: none

	NoNewKeyring bool   // the container shares the session keyring of the shim
	Owner        uint32 // user and group of the pipes for the output: root of the container
}

// Task is a task of containerd.
type Task struct {
	ID       string
	PID      int
	Running  bool // has been started and has not ended
	ExitCode int
}

// Exit is how a task ended. Code is 128+N when signal N killed it.
type Exit struct {
	Code int
	At   time.Time
}

// Dial waits until containerd listens on socket, and connects. runtime is the path of the OCI runtime,
// which containers are deleted with that containerd has lost; empty: they are not.
func Dial(ctx context.Context, socket, runtime string) (*Client, error) {
	if err := waitForSocket(ctx, socket); err != nil {
		return nil, fmt.Errorf("cannot reach containerd at %s: %w", socket, err)
	}
	conn, err := grpc.NewClient("unix://"+socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)))
	if err != nil {
		return nil, fmt.Errorf("cannot reach containerd at %s: %w", socket, err)
	}
	return &Client{
		socket:     socket,
		runtime:    runtime,
		conn:       conn,
		containers: containersapi.NewContainersClient(conn),
		tasks:      tasksapi.NewTasksClient(conn),
	}, nil
}

// Close closes the connection. It does not change any task.
func (c *Client) Close() error { return c.conn.Close() }

func withNamespace(ctx context.Context, namespace string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, namespaceHeader, namespace)
}

// Create creates the container and its task, and returns the process ID of the
// container's init, which waits for Start. The remains of an earlier task of the same
// ID are removed first.
func (c *Client) Create(ctx context.Context, s Spec) (pid int, err error) {
	unlock, err := c.making.lock(ctx, s.Namespace+"/"+s.ID)
	if err != nil {
		return 0, fmt.Errorf("cannot create task %s while remains of an earlier one are being removed: %w", s.ID, err)
	}
	defer unlock()
	if err := c.Delete(ctx, s.Namespace, s.ID); err != nil {
		return 0, err
	}
	if c.hasLeftover(s.Namespace, s.ID) {
		if _, err := c.removeLeftover(ctx, s.Namespace, s.ID); err != nil {
			return 0, err
		}
	}
	ctx = withNamespace(ctx, s.Namespace)
	pid, err = c.create(ctx, s)
	if path := leftoverBundle(err, s.Namespace, s.ID); path != "" {
		if err := removeBundle(path); err != nil {
			return 0, fmt.Errorf("cannot remove the remains of an earlier task %s: %w", s.ID, err)
		}
		pid, err = c.create(ctx, s)
	}
	if errors.Is(err, errExists) {
		c.forget(ctx, s.ID)
		pid, err = c.create(ctx, s)
	}
	return pid, err
}

// forget makes containerd forget a task that it does not find but refuses to create
// because it exists: its shim ended at the moment when containerd, just restarted,
// connected to it. containerd answers with an error even when it has forgotten the
// task, so the error is ignored; the next attempt to create the task shows.
func (c *Client) forget(ctx context.Context, id string) {
	_, _ = c.tasks.Delete(ctx, &tasksapi.DeleteTaskRequest{ContainerID: id})
}

func (c *Client) create(ctx context.Context, s Spec) (pid int, err error) {
	_, err = c.containers.Create(ctx, &containersapi.CreateContainerRequest{
		Container: &containersapi.Container{
			ID:      s.ID,
			Labels:  s.labels(),
			Runtime: &containersapi.Container_Runtime{Name: runtimeName},
			Spec:    &anypb.Any{TypeUrl: specType, Value: s.JSON},
		},
	})
	if err != nil && status.Code(err) != codes.AlreadyExists { // An earlier attempt may have made it.
		return 0, failed("cannot create container "+s.ID, err)
	}
	runtimeOptions, err := s.options()
	if err != nil {
		return 0, fmt.Errorf("cannot create task %s: %w", s.ID, err)
	}
	created, err := c.tasks.Create(ctx, &tasksapi.CreateTaskRequest{
		ContainerID: s.ID,
		Options:     runtimeOptions,
		Stdout:      s.Stdout,
		Stderr:      s.Stderr,
		Terminal:    s.Terminal,
	})
	if err != nil {
		return 0, failed("cannot create task "+s.ID, err)
	}
	return int(created.GetPid()), nil
}

func (s Spec) labels() map[string]string {
	if s.Service == "" {
		return nil
	}
	return map[string]string{serviceLabel: s.Service}
}

// options returns the options of the runtime; nil means its defaults.
func (s Spec) options() (*anypb.Any, error) {
	if !s.NoNewKeyring && s.Owner == 0 {
		return nil, nil
	}
	value, err := proto.Marshal(&options.Options{NoNewKeyring: s.NoNewKeyring, IoUid: s.Owner, IoGid: s.Owner})
	return &anypb.Any{TypeUrl: optionsType, Value: value}, err
}

// Start starts a created task.
func (c *Client) Start(ctx context.Context, namespace, id string) error {
	if _, err := c.tasks.Start(withNamespace(ctx, namespace), &tasksapi.StartRequest{ContainerID: id}); err != nil {
		return failed("cannot start task "+id, err)
	}
	return nil
}

// Wait returns when the task has ended.
func (c *Client) Wait(ctx context.Context, namespace, id string) (Exit, error) {
	r, err := c.tasks.Wait(withNamespace(ctx, namespace), &tasksapi.WaitRequest{ContainerID: id})
	if err != nil {
		return Exit{}, failed("cannot wait for task "+id, err)
	}
	return Exit{Code: int(r.GetExitStatus()), At: r.GetExitedAt().AsTime()}, nil
}

// Ping asks for a container that does not exist. The answer shows that containerd and
// its database work.
func (c *Client) Ping(ctx context.Context) error {
	_, err := c.containers.Get(withNamespace(ctx, "keelson"), &containersapi.GetContainerRequest{ID: "ping"})
	if err != nil && !notFound(err) {
		return failed("containerd does not answer", err)
	}
	return nil
}

// Delete removes the task and the container. A running task is killed first. It is no
// error if they do not exist.
func (c *Client) Delete(ctx context.Context, namespace, id string) error {
	ctx = withNamespace(ctx, namespace)
	if err := c.deleteTask(ctx, id); err != nil {
		return err
	}
	_, err := c.containers.Delete(ctx, &containersapi.DeleteContainerRequest{ID: id})
	if err != nil && !notFound(err) {
		return failed("cannot delete container "+id, err)
	}
	return nil
}

// deleteTask kills the task first if it is alive, even when it was not started: a
// shim that deletes a created task waits for the end of its output, which never comes.
func (c *Client) deleteTask(ctx context.Context, id string) error {
	r, err := c.tasks.Get(ctx, &tasksapi.GetRequest{ContainerID: id})
	if notFound(err) {
		return nil
	}
	if err == nil && isAlive(r.GetProcess().GetStatus()) {
		if err := c.killTask(ctx, id); err != nil {
			return err
		}
	}
	_, err = c.tasks.Delete(ctx, &tasksapi.DeleteTaskRequest{ContainerID: id})
	if err != nil && !notFound(err) {
		return failed("cannot delete task "+id, err)
	}
	return nil
}

func isAlive(s task.Status) bool {
	return s == task.Status_CREATED || s == task.Status_RUNNING || s == task.Status_PAUSED
}

// killTask kills a task and waits until it has ended.
func (c *Client) killTask(ctx context.Context, id string) error {
	_, err := c.tasks.Kill(ctx, &tasksapi.KillRequest{ContainerID: id, Signal: uint32(syscall.SIGKILL), All: true})
	if err != nil && !notFound(err) {
		return failed("cannot kill task "+id, err)
	}
	if _, err := c.tasks.Wait(ctx, &tasksapi.WaitRequest{ContainerID: id}); err != nil && !notFound(err) {
		return failed("cannot wait for task "+id, err)
	}
	return nil
}

// List returns the tasks of a namespace.
func (c *Client) List(ctx context.Context, namespace string) ([]Task, error) {
	r, err := c.tasks.List(withNamespace(ctx, namespace), &tasksapi.ListTasksRequest{})
	if err != nil {
		return nil, failed("cannot list tasks", err)
	}
	var tasks []Task
	for _, t := range r.GetTasks() {
		tasks = append(tasks, Task{
			ID: t.GetID(), PID: int(t.GetPid()), ExitCode: int(t.GetExitStatus()),
			Running: t.GetStatus() == task.Status_RUNNING || t.GetStatus() == task.Status_PAUSED,
		})
	}
	return tasks, nil
}
