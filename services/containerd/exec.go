package containerd

import (
	"context"
	"encoding/json"

	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"
	"google.golang.org/protobuf/types/known/anypb"
)

// processType is the type of an additional process (process of config.md of the
// OCI runtime specification).
const processType = "types.containerd.io/opencontainers/runtime-spec/1/Process"

// ExecSpec describes a process to start in a running task.
type ExecSpec struct {
	Namespace, ID, ExecID string
	Process               json.RawMessage // process of an OCI runtime spec
	Stdin, Stdout, Stderr string          // absolute paths of FIFOs; empty: none, or discarded
	Terminal              bool            // must equal terminal of Process
}

// Exec creates the process; StartExec starts it.
func (c *Client) Exec(ctx context.Context, s ExecSpec) error {
	_, err := c.tasks.Exec(withNamespace(ctx, s.Namespace), &tasksapi.ExecProcessRequest{
		ContainerID: s.ID, ExecID: s.ExecID, Stdin: s.Stdin, Stdout: s.Stdout, Stderr: s.Stderr, Terminal: s.Terminal,
		Spec: &anypb.Any{TypeUrl: processType, Value: s.Process},
	})
	if err != nil {
		return failed("cannot create process "+s.ExecID+" in task "+s.ID, err)
	}
	return nil
}

// StartExec starts a process that Exec has created, and returns its ID.
func (c *Client) StartExec(ctx context.Context, s ExecSpec) (pid int, err error) {
	r, err := c.tasks.Start(withNamespace(ctx, s.Namespace), &tasksapi.StartRequest{ContainerID: s.ID, ExecID: s.ExecID})
	if err != nil {
		return 0, failed("cannot start process "+s.ExecID+" in task "+s.ID, err)
	}
	return int(r.GetPid()), nil
}

// WaitExec waits until the process has ended, and returns its exit code.
func (c *Client) WaitExec(ctx context.Context, s ExecSpec) (int, error) {
	r, err := c.tasks.Wait(withNamespace(ctx, s.Namespace), &tasksapi.WaitRequest{ContainerID: s.ID, ExecID: s.ExecID})
	if err != nil {
		return 0, failed("cannot wait for process "+s.ExecID+" in task "+s.ID, err)
	}
	return int(r.GetExitStatus()), nil
}

// CloseStdin closes the shim's end of the process's input. The process reads the end of
// the file once no other process has the FIFO open for writing.
func (c *Client) CloseStdin(ctx context.Context, s ExecSpec) error {
	_, err := c.tasks.CloseIO(withNamespace(ctx, s.Namespace), &tasksapi.CloseIORequest{ContainerID: s.ID, ExecID: s.ExecID, Stdin: true})
	if err != nil {
		return failed("cannot close the input of process "+s.ExecID, err)
	}
	return nil
}

// Resize sets the size of the process's terminal, in characters.
func (c *Client) Resize(ctx context.Context, s ExecSpec, width, height int) error {
	_, err := c.tasks.ResizePty(withNamespace(ctx, s.Namespace), &tasksapi.ResizePtyRequest{
		ContainerID: s.ID, ExecID: s.ExecID, Width: uint32(width), Height: uint32(height)})
	if err != nil {
		return failed("cannot resize the terminal of process "+s.ExecID, err)
	}
	return nil
}

// DeleteExec removes the process from the task. The process must have ended, or must
// not have been started.
func (c *Client) DeleteExec(ctx context.Context, s ExecSpec) error {
	_, err := c.tasks.DeleteProcess(withNamespace(ctx, s.Namespace), &tasksapi.DeleteProcessRequest{ContainerID: s.ID, ExecID: s.ExecID})
	if err != nil && !notFound(err) {
		return failed("cannot delete process "+s.ExecID+" of task "+s.ID, err)
	}
	return nil
}
