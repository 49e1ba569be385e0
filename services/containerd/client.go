package containerd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/containerd/containerd/api/services/containers/v1"
	"github.com/containerd/containerd/api/services/tasks/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Socket is where containerd listens.
const Socket = "/run/containerd/containerd.sock"

// Errors to match with errors.Is.
var (
	ErrGone     = errors.New("containerd does not answer")
	ErrNotFound = errors.New("no such task")
)

// Client talks to one containerd.
type Client struct {
	socket     string
	conn       *grpc.ClientConn
	containers containers.ContainersClient
	tasks      tasks.TasksClient
	waiting    sync.Mutex // one waits for the socket, others for it
}

// New makes a client for the socket at path. It does not connect: see Ready.
func New(path string) (*Client, error) {
	dial := func(ctx context.Context, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	conn, err := grpc.NewClient("passthrough:///containerd",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(dial),
		grpc.WithDisableServiceConfig(),
		grpc.WithIdleTimeout(0),
		// Ready waits for the socket and then asks for a connection at
		// once, so the library's own back-off hardly matters.
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{
			BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, MaxDelay: 3 * time.Second,
		}}),
	)
	if err != nil {
		return nil, fmt.Errorf("cannot talk to containerd: %w", err)
	}
	return &Client{
		socket: path, conn: conn,
		containers: containers.NewContainersClient(conn), tasks: tasks.NewTasksClient(conn),
	}, nil
}

// Close gives up the connection; calls under way end with ErrGone.
func (c *Client) Close() error { return c.conn.Close() }

// Ready returns when containerd takes connections.
func (c *Client) Ready(ctx context.Context) error {
	c.waiting.Lock()
	defer c.waiting.Unlock()
	if err := waitForSocket(ctx, c.socket); err != nil {
		return fmt.Errorf("cannot connect to containerd: %w", err)
	}
	c.conn.ResetConnectBackoff()
	c.conn.Connect()
	return nil
}

// in puts a call into a namespace of containerd.
func in(ctx context.Context, namespace string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "containerd-namespace", namespace)
}

// explain makes an error of a call one that callers can match.
func explain(doing, id string, err error) error {
	if err == nil {
		return nil
	}
	s, _ := status.FromError(err)
	switch s.Code() {
	case codes.Unavailable:
		return fmt.Errorf("cannot %s %s: %w: %s", doing, id, ErrGone, s.Message())
	case codes.NotFound:
		return fmt.Errorf("cannot %s %s: %w: %s", doing, id, ErrNotFound, s.Message())
	case codes.Unknown, codes.OK:
		return fmt.Errorf("cannot %s %s: %s", doing, id, s.Message())
	}
	return fmt.Errorf("cannot %s %s: %w", doing, id, err)
}

func ignoreNotFound(err error) error {
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
