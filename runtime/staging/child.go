package staging

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	"keelson/runtime/artifact"
)

// ordersKey is the variable of the environment by which the parent gives the child its
// orders. It is the child's whole environment.
const ordersKey = "KEELSON_STAGING"

// orders is what the child has to know.
type orders struct {
	Dir string // the staging folder
	settings
}

// start starts the child.
func start(ctx context.Context, o Options, dir string) (*child, error) {
	text, err := json.Marshal(orders{dir, settings{o.Architecture, o.MaxSize}})
	if err != nil {
		return nil, err
	}
	c := &child{stdout: limited{limit: maxResult}, stderr: limited{limit: maxStderr}, readErr: make(chan error, 1)}
	c.cmd = exec.CommandContext(ctx, o.Program, o.Args...)
	c.cmd.Env = []string{ordersKey + "=" + string(text)}
	c.cmd.Dir = "/"
	c.cmd.Stdout, c.cmd.Stderr = &c.stdout, &c.stderr
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if c.input, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	return c, c.cmd.Start()
}

// Main is the child of Stage. It returns its exit status.
func Main(in io.Reader, out io.Writer) int {
	meta, err := runChild(in)
	res := result{Meta: &meta}
	if err != nil {
		res = result{Error: err.Error()}
	}
	if err := json.NewEncoder(out).Encode(res); err != nil {
		fmt.Fprintln(os.Stderr, "cannot write the result:", err)
		return 1
	}
	if res.Error != "" {
		return 1
	}
	return 0
}

func runChild(in io.Reader) (artifact.Meta, error) {
	var todo orders
	if err := json.Unmarshal([]byte(os.Getenv(ordersKey)), &todo); err != nil {
		return artifact.Meta{}, fmt.Errorf("only keelson starts this program: cannot read %s: %w", ordersKey, err)
	}
	unix.Umask(0)
	root, err := os.OpenRoot(todo.Dir)
	if err != nil {
		return artifact.Meta{}, err
	}
	defer root.Close()
	return unpack(root, in, todo.settings)
}
