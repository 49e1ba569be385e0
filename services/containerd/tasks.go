package containerd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/containerd/containerd/api/services/containers/v1"
	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/task"
	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
)

const (
	runtimeName = "io.containerd.runc.v2"
	specType    = "types.containerd.io/opencontainers/runtime-spec/1/Spec"
)

// ID names a task: the service's name within a namespace.
type ID struct{ Namespace, Name string }

// Config is what a task is made from.
type Config struct {
	Spec           *specs.Spec // root.path absolute
	Stdout, Stderr string      // files to append to; made when missing
}

// Exit is how a task's first process ended.
type Exit struct {
	Code uint32
	At   time.Time
}

// Task is one that containerd knows.
type Task struct {
	Name    string
	Pid     int
	Running bool // its first process lives
	Created bool // made, never started
	Exit    Exit // when neither
}

// Create makes container and task; pid is the process that waits for Start.
// What is left of an earlier container of this name is removed.
func (c *Client) Create(ctx context.Context, id ID, config Config) (pid int, err error) {
	for _, path := range []string{config.Stdout, config.Stderr} {
		if err := touch(path); err != nil {
			return 0, fmt.Errorf("cannot create task %s: %w", id.Name, err)
		}
	}
	if err := c.createContainer(ctx, id, config.Spec); err != nil {
		return 0, err
	}
	response, err := c.tasks.Create(in(ctx, id.Namespace), &tasks.CreateTaskRequest{
		ContainerID: id.Name, Stdout: config.Stdout, Stderr: config.Stderr,
		Terminal: config.Spec.Process != nil && config.Spec.Process.Terminal,
	}, grpc.WaitForReady(true))
	if err != nil {
		return 0, explain("create task", id.Name, err)
	}
	return int(response.Pid), nil
}

func (c *Client) createContainer(ctx context.Context, id ID, spec *specs.Spec) error {
	text, err := json.Marshal(spec)
	if err != nil {
		return fmt.Errorf("cannot encode spec of %s: %w", id.Name, err)
	}
	request := &containers.CreateContainerRequest{Container: &containers.Container{
		ID:      id.Name,
		Runtime: &containers.Container_Runtime{Name: runtimeName},
		Spec:    &anypb.Any{TypeUrl: specType, Value: text},
	}}
	_, err = c.containers.Create(in(ctx, id.Namespace), request, grpc.WaitForReady(true))
	if status.Code(err) == codes.AlreadyExists {
		if err := c.Remove(ctx, id); err != nil {
			return err
		}
		_, err = c.containers.Create(in(ctx, id.Namespace), request, grpc.WaitForReady(true))
	}
	return explain("create container", id.Name, err)
}

// touch makes a log file. The shim opens it without O_CREAT.
func touch(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// Start lets a created task run.
func (c *Client) Start(ctx context.Context, id ID) error {
	_, err := c.tasks.Start(in(ctx, id.Namespace), &tasks.StartRequest{ContainerID: id.Name})
	return explain("start task", id.Name, err)
}

// Wait returns when the task's first process has ended.
func (c *Client) Wait(ctx context.Context, id ID) (Exit, error) {
	response, err := c.tasks.Wait(in(ctx, id.Namespace), &tasks.WaitRequest{ContainerID: id.Name}, grpc.WaitForReady(true))
	if err != nil {
		return Exit{}, explain("wait for task", id.Name, err)
	}
	return Exit{Code: response.ExitStatus, At: response.ExitedAt.AsTime()}, nil
}

// Kill sends a signal to the first process, or to all of the task's.
func (c *Client) Kill(ctx context.Context, id ID, signal syscall.Signal, all bool) error {
	_, err := c.tasks.Kill(in(ctx, id.Namespace), &tasks.KillRequest{
		ContainerID: id.Name, Signal: uint32(signal), All: all})
	return explain("signal task", id.Name, err)
}

// Delete removes a task that has ended, and its container. That either is
// gone already is no error.
func (c *Client) Delete(ctx context.Context, id ID) error {
	_, err := c.tasks.Delete(in(ctx, id.Namespace), &tasks.DeleteTaskRequest{ContainerID: id.Name}, grpc.WaitForReady(true))
	if err := ignoreNotFound(explain("delete task", id.Name, err)); err != nil {
		return err
	}
	_, err = c.containers.Delete(in(ctx, id.Namespace), &containers.DeleteContainerRequest{ID: id.Name}, grpc.WaitForReady(true))
	return ignoreNotFound(explain("delete container", id.Name, err))
}

// Remove kills what runs of the task and deletes it.
func (c *Client) Remove(ctx context.Context, id ID) error {
	err := c.Kill(ctx, id, syscall.SIGKILL, true)
	switch {
	case errors.Is(err, ErrGone):
		return err
	case err == nil:
		if _, err := c.Wait(ctx, id); ignoreNotFound(err) != nil {
			return err
		}
	}
	return c.Delete(ctx, id)
}

// List gives the tasks of a namespace.
func (c *Client) List(ctx context.Context, namespace string) ([]Task, error) {
	response, err := c.tasks.List(in(ctx, namespace), &tasks.ListTasksRequest{}, grpc.WaitForReady(true))
	if err != nil {
		return nil, explain("list tasks of", namespace, err)
	}
	var all []Task
	for _, p := range response.Tasks {
		t := Task{Name: p.ID, Pid: int(p.Pid), Exit: Exit{Code: p.ExitStatus, At: p.ExitedAt.AsTime()}}
		switch p.Status {
		case task.Status_RUNNING, task.Status_PAUSED, task.Status_PAUSING:
			t.Running = true
		case task.Status_CREATED:
			t.Created = true
		}
		all = append(all, t)
	}
	return all, nil
}
