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
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"keelson/runtime/keyring"
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

// Client is a connection to containerd. It reconnects by itself when the
// daemon is started again; calls in between fail with an error for which
// Unavailable is true.
type Client struct {
	socket     string
	conn       *grpc.ClientConn
	containers containersapi.ContainersClient
	tasks      tasksapi.TasksClient
}

// Spec is a task to be made.
type Spec struct {
	ID        string
	Namespace string
	JSON      []byte // OCI runtime spec; root.path is absolute
	Stdout    string // absolute path of a FIFO or a file that exists; empty: nowhere
	Stderr    string
	Terminal  bool // as process.terminal of JSON

	NoNewKeyring bool // it gets no session keyring of its own
}

// Task is a task that containerd knows.
type Task struct {
	ID       string
	PID      int
	Running  bool // started and not ended
	ExitCode int
}

// Exit is how a task ended. Code is 128+N when signal N killed it.
type Exit struct {
	Code int
	At   time.Time
}

// Dial waits until containerd listens on socket, then connects.
func Dial(ctx context.Context, socket string) (*Client, error) {
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
		conn:       conn,
		containers: containersapi.NewContainersClient(conn),
		tasks:      tasksapi.NewTasksClient(conn),
	}, nil
}

// Close ends the connection; tasks are not touched.
func (c *Client) Close() error { return c.conn.Close() }

func in(ctx context.Context, namespace string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, namespaceHeader, namespace)
}

// Create makes container and task, and returns the process id of the
// container's init, which waits for Start. What an earlier task of the same id
// left behind is removed first.
func (c *Client) Create(ctx context.Context, s Spec) (pid int, err error) {
	if err := c.Delete(ctx, s.Namespace, s.ID); err != nil {
		return 0, err
	}
	if err := c.removeLeftover(s.Namespace, s.ID); err != nil {
		return 0, err
	}
	ctx = in(ctx, s.Namespace)
	pid, err = c.create(ctx, s)
	if path := inTheWay(err, s.Namespace, s.ID); path != "" {
		if err := c.clear(path); err != nil {
			return 0, fmt.Errorf("cannot remove what is left of task %s: %w", s.ID, err)
		}
		pid, err = c.create(ctx, s)
	}
	if status.Code(err) == codes.AlreadyExists {
		c.forget(ctx, s.ID)
		pid, err = c.create(ctx, s)
	}
	return pid, err
}

// forget makes containerd forget a task that it cannot find when it is asked
// for it and has when it is told to make it: its shim went away at the moment
// when containerd, newly started, took it over. It answers with an error even
// when it has forgotten; the next try to make the task tells.
func (c *Client) forget(ctx context.Context, id string) {
	_, _ = c.tasks.Delete(ctx, &tasksapi.DeleteTaskRequest{ContainerID: id})
}

func (c *Client) create(ctx context.Context, s Spec) (pid int, err error) {
	_, err = c.containers.Create(ctx, &containersapi.CreateContainerRequest{
		Container: &containersapi.Container{
			ID:      s.ID,
			Runtime: &containersapi.Container_Runtime{Name: runtimeName},
			Spec:    &anypb.Any{TypeUrl: specType, Value: s.JSON},
		},
	})
	if err != nil && status.Code(err) != codes.AlreadyExists { // Made by a try before.
		return 0, fmt.Errorf("cannot create container %s: %w", s.ID, err)
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
		return 0, failure{"cannot create task " + s.ID, err}
	}
	return int(created.GetPid()), nil
}

// options are the runtime's; nil: the default ones.
func (s Spec) options() (*anypb.Any, error) {
	if !s.NoNewKeyring {
		return nil, nil
	}
	value, err := proto.Marshal(&options.Options{NoNewKeyring: true})
	return &anypb.Any{TypeUrl: optionsType, Value: value}, err
}

// Start lets a created task run.
func (c *Client) Start(ctx context.Context, namespace, id string) error {
	if _, err := c.tasks.Start(in(ctx, namespace), &tasksapi.StartRequest{ContainerID: id}); err != nil {
		return failure{"cannot start task " + id, err}
	}
	return nil
}

// Wait returns when the task has ended.
func (c *Client) Wait(ctx context.Context, namespace, id string) (Exit, error) {
	r, err := c.tasks.Wait(in(ctx, namespace), &tasksapi.WaitRequest{ContainerID: id})
	if err != nil {
		return Exit{}, fmt.Errorf("cannot wait for task %s: %w", id, err)
	}
	return Exit{Code: int(r.GetExitStatus()), At: r.GetExitedAt().AsTime()}, nil
}

// Ping asks for a container that nobody has. The answer shows that containerd
// lives, and that its database does.
func (c *Client) Ping(ctx context.Context) error {
	_, err := c.containers.Get(in(ctx, "keelson"), &containersapi.GetContainerRequest{ID: "ping"})
	if err != nil && !gone(err) {
		return fmt.Errorf("containerd does not answer: %w", err)
	}
	return nil
}

// KillDaemon sends SIGKILL to the process that listens on containerd's socket
// (SO_PEERCRED of unix(7)).
func (c *Client) KillDaemon() error {
	pid, err := listener(c.socket)
	if err != nil {
		return err
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("cannot kill process %d: %w", pid, err)
	}
	return nil
}

// Delete removes task and container. A running task is killed first; one that
// is gone is no error.
func (c *Client) Delete(ctx context.Context, namespace, id string) error {
	ctx = in(ctx, namespace)
	if err := c.deleteTask(ctx, id); err != nil {
		return err
	}
	_, err := c.containers.Delete(ctx, &containersapi.DeleteContainerRequest{ID: id})
	if err != nil && !gone(err) {
		return fmt.Errorf("cannot delete container %s: %w", id, err)
	}
	return nil
}

// deleteTask asks first whether the task lives: the shim, told to delete one
// that was made and not started, waits in vain for the end of its output.
func (c *Client) deleteTask(ctx context.Context, id string) error {
	r, err := c.tasks.Get(ctx, &tasksapi.GetRequest{ContainerID: id})
	if gone(err) {
		return nil
	}
	if err == nil && lives(r.GetProcess().GetStatus()) {
		if err := c.killTask(ctx, id); err != nil {
			return err
		}
	}
	_, err = c.tasks.Delete(ctx, &tasksapi.DeleteTaskRequest{ContainerID: id})
	if err != nil && !gone(err) {
		return fmt.Errorf("cannot delete task %s: %w", id, err)
	}
	return nil
}

func lives(s task.Status) bool {
	return s == task.Status_CREATED || s == task.Status_RUNNING || s == task.Status_PAUSED
}

// killTask kills a task and waits for its end.
func (c *Client) killTask(ctx context.Context, id string) error {
	_, err := c.tasks.Kill(ctx, &tasksapi.KillRequest{ContainerID: id, Signal: uint32(syscall.SIGKILL), All: true})
	if err != nil && !gone(err) {
		return fmt.Errorf("cannot kill task %s: %w", id, err)
	}
	if _, err := c.tasks.Wait(ctx, &tasksapi.WaitRequest{ContainerID: id}); err != nil && !gone(err) {
		return fmt.Errorf("cannot wait for task %s: %w", id, err)
	}
	return nil
}

// List returns the tasks of a namespace.
func (c *Client) List(ctx context.Context, namespace string) ([]Task, error) {
	r, err := c.tasks.List(in(ctx, namespace), &tasksapi.ListTasksRequest{})
	if err != nil {
		return nil, fmt.Errorf("cannot list tasks: %w", err)
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

// Unavailable tells whether err means that containerd could not be asked, as
// against an answer of containerd's. Canceled is how calls under way end when
// another caller closes the connection.
func Unavailable(err error) bool {
	code := status.Code(err)
	return code == codes.Unavailable || code == codes.Canceled
}

// TimedOut reports whether a call failed because its time was over.
func TimedOut(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || status.Code(err) == codes.DeadlineExceeded
}

func gone(err error) bool { return status.Code(err) == codes.NotFound }

// failure is an error of a call, in the words of the other side without gRPC's
// wrapping.
type failure struct {
	what string
	err  error
}

func (f failure) Error() string {
	if s, ok := status.FromError(f.err); ok {
		return f.what + ": " + s.Message()
	}
	return f.what + ": " + f.err.Error()
}

func (f failure) Unwrap() error { return f.err }

// ErrNoKeyring is returned by Create when the kernel has no key left for a session
// keyring.
var ErrNoKeyring = errors.New("no session keyring")

// Is finds ErrNoKeyring in the runtime's words.
func (f failure) Is(target error) bool {
	return target == ErrNoKeyring && keyring.Exhausted(f.Error())
}
