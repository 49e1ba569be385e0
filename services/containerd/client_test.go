package containerd

import (
	"context"
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

// haunted is a containerd whose shim went away between its answer and its
// entry in the list: no real one does so when told to.
type haunted struct {
	container, listed bool
	forgets           bool // the task, when told to delete it
}

type hauntedContainers struct {
	containersapi.UnimplementedContainersServer
	*haunted
}

func (h hauntedContainers) Create(context.Context, *containersapi.CreateContainerRequest) (*containersapi.CreateContainerResponse, error) {
	if h.container {
		return nil, status.Error(codes.AlreadyExists, "container web: already exists")
	}
	h.container = true
	return &containersapi.CreateContainerResponse{}, nil
}

func (h hauntedContainers) Delete(context.Context, *containersapi.DeleteContainerRequest) (*emptypb.Empty, error) {
	h.container = false
	return &emptypb.Empty{}, nil
}

type hauntedTasks struct {
	tasksapi.UnimplementedTasksServer
	*haunted
}

func (h hauntedTasks) Get(context.Context, *tasksapi.GetRequest) (*tasksapi.GetResponse, error) {
	return nil, status.Error(codes.NotFound, "ttrpc: closed: not found")
}

func (h hauntedTasks) Create(context.Context, *tasksapi.CreateTaskRequest) (*tasksapi.CreateTaskResponse, error) {
	if h.listed {
		return nil, status.Error(codes.AlreadyExists, "task web: already exists")
	}
	return &tasksapi.CreateTaskResponse{Pid: 42}, nil
}

func (h hauntedTasks) Delete(context.Context, *tasksapi.DeleteTaskRequest) (*tasksapi.DeleteResponse, error) {
	if !h.container {
		return nil, status.Error(codes.NotFound, "container web: not found")
	}
	h.listed = !h.forgets
	return nil, status.Error(codes.Unknown, "failed to delete task: ttrpc: closed")
}

func serve(t *testing.T, h *haunted) *Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "containerd.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	containersapi.RegisterContainersServer(server, hauntedContainers{haunted: h})
	tasksapi.RegisterTasksServer(server, hauntedTasks{haunted: h})
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Stop(); <-done })
	c, err := Dial(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestTaskThatIsListedAndNotThere(t *testing.T) {
	pid, err := serve(t, &haunted{listed: true, forgets: true}).Create(t.Context(), Spec{ID: "web", Namespace: "ns"})
	if pid != 42 || err != nil {
		t.Errorf("made as %d: %v", pid, err)
	}
	_, err = serve(t, &haunted{listed: true}).Create(t.Context(), Spec{ID: "web", Namespace: "ns"})
	if status.Code(err) != codes.AlreadyExists {
		t.Errorf("one that stays gives %v", err)
	}
}
