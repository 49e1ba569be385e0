package containerd

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"

	containersapi "github.com/containerd/containerd/api/services/containers/v1"
	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// stale is a containerd that lists a task whose shim has ended. A test cannot bring a real
// one into this state.
type stale struct {
	container, listed bool
	forgets           bool // Delete removes the task from the list
}

type staleContainers struct {
	containersapi.UnimplementedContainersServer
	*stale
}

func (s staleContainers) Create(context.Context, *containersapi.CreateContainerRequest) (*containersapi.CreateContainerResponse, error) {
	if s.container {
		return nil, status.Error(codes.AlreadyExists, "container web: already exists")
	}
	s.container = true
	return &containersapi.CreateContainerResponse{}, nil
}

func (s staleContainers) Delete(context.Context, *containersapi.DeleteContainerRequest) (*emptypb.Empty, error) {
	s.container = false
	return &emptypb.Empty{}, nil
}

type staleTasks struct {
	tasksapi.UnimplementedTasksServer
	*stale
}

func (s staleTasks) Get(context.Context, *tasksapi.GetRequest) (*tasksapi.GetResponse, error) {
	return nil, status.Error(codes.NotFound, "ttrpc: closed: not found")
}

func (s staleTasks) Create(context.Context, *tasksapi.CreateTaskRequest) (*tasksapi.CreateTaskResponse, error) {
	if s.listed {
		return nil, status.Error(codes.AlreadyExists, "task web: already exists")
	}
	return &tasksapi.CreateTaskResponse{Pid: 42}, nil
}

func (s staleTasks) Delete(context.Context, *tasksapi.DeleteTaskRequest) (*tasksapi.DeleteResponse, error) {
	if !s.container {
		return nil, status.Error(codes.NotFound, "container web: not found")
	}
	s.listed = !s.forgets
	return nil, status.Error(codes.Unknown, "failed to delete task: ttrpc: closed")
}

func serve(t *testing.T, h *stale) *Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "containerd.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	containersapi.RegisterContainersServer(server, staleContainers{stale: h})
	tasksapi.RegisterTasksServer(server, staleTasks{stale: h})
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Stop(); <-done })
	c, err := Dial(t.Context(), socket, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestCreateOverStaleTask(t *testing.T) {
	pid, err := serve(t, &stale{listed: true, forgets: true}).Create(t.Context(), Spec{ID: "web", Namespace: "ns"})
	if pid != 42 || err != nil {
		t.Errorf("process %d, %v, want 42", pid, err)
	}
	_, err = serve(t, &stale{listed: true}).Create(t.Context(), Spec{ID: "web", Namespace: "ns"})
	if !errors.Is(err, errExists) {
		t.Errorf("a task that stays in the list: %v, want %v", err, errExists)
	}
}
