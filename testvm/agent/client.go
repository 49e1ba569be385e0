package agent

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/rpc"
	"net/rpc/jsonrpc"
)

// Client calls an agent from the host.
type Client struct {
	rpc *rpc.Client
}

// NewClient returns a client of the agent at conn. The first call waits until the guest has
// started its agent.
func NewClient(conn io.ReadWriteCloser) *Client {
	return &Client{rpc: jsonrpc.NewClient(conn)}
}

// call calls a method. Without an agent in the guest it returns when ctx ends.
func (c *Client) call(ctx context.Context, method string, args, reply any) error {
	call := c.rpc.Go("Agent."+method, args, reply, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
		if call.Error != nil {
			return fmt.Errorf("cannot %s in the guest: %w", method, call.Error)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("cannot %s in the guest: no answer from the agent: %w", method, ctx.Err())
	}
}

// Ping waits until the agent answers.
func (c *Client) Ping(ctx context.Context) error {
	var pong string
	return c.call(ctx, "Ping", "ping", &pong)
}

// Exec runs a program in PID 1's mount namespace and waits for its end.
func (c *Client) Exec(ctx context.Context, args ExecArgs) (ExecResult, error) {
	r := new(ExecResult) // A late answer, after the end of ctx, must not race with the caller.
	if err := c.call(ctx, "Exec", args, r); err != nil {
		return ExecResult{}, err
	}
	return *r, nil
}

// ReadFile reads a file of the guest.
func (c *Client) ReadFile(ctx context.Context, path string) ([]byte, error) {
	data := new([]byte)
	if err := c.call(ctx, "ReadFile", path, data); err != nil {
		return nil, err
	}
	return *data, nil
}

// WriteFile writes a file of the guest.
func (c *Client) WriteFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	return c.call(ctx, "WriteFile", FileArgs{Path: path, Data: data, Mode: mode}, new(bool))
}

// ReadDir lists the names in a directory of the guest.
func (c *Client) ReadDir(ctx context.Context, path string) ([]string, error) {
	names := new([]string)
	if err := c.call(ctx, "ReadDir", path, names); err != nil {
		return nil, err
	}
	return *names, nil
}

// KernelLog returns the kernel log, with priorities.
func (c *Client) KernelLog(ctx context.Context) (string, error) {
	log := new(string)
	if err := c.call(ctx, "KernelLog", "", log); err != nil {
		return "", err
	}
	return *log, nil
}

// Processes returns the guest's process table.
func (c *Client) Processes(ctx context.Context) ([]Process, error) {
	list := new([]Process)
	if err := c.call(ctx, "Processes", "", list); err != nil {
		return nil, err
	}
	return *list, nil
}

// Signal sends a signal to a process of the guest.
func (c *Client) Signal(ctx context.Context, pid, signal int) error {
	return c.call(ctx, "Signal", SignalArgs{PID: pid, Signal: signal}, new(bool))
}
