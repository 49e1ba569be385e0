package staging

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"

	"keelson/runtime/artifact"
)

// ordersKey is the variable of the environment by which the parent gives the child its
// orders. It is the child's whole environment.
const ordersKey = "KEELSON_STAGING"

// orders is what the child has to know.
type orders struct {
	Dir      string // the staging folder
	Users    bool   // the child has a user namespace of its own
	Confined bool   // Dir is the root, and the child cannot leave it
	Digest   bool   // the child only computes the digest of its standard input
	Asks     bool   // the child reads settings.Images at imagesAnswer, since it is not known yet

	// Copy is a part of its standard input that the child with Digest also copies to copyTarget; nil: all of it
	// is read, and nothing is copied.
	Copy *artifact.Place `json:",omitempty"`
	settings
}

func (o orders) environment() (string, error) {
	text, err := json.Marshal(o)
	return ordersKey + "=" + string(text), err
}

// namespaces of the child, without that of users.
const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS

// start starts the child, without a user namespace if the kernel refuses one. Its standard
// input is input, or a pipe.
func start(ctx context.Context, o Options, todo orders, input *os.File, more ...*os.File) (*child, error) {
	todo.Users = true
	c, err := launch(ctx, o, todo, input, more)
	if err == nil {
		return c, nil
	}
	todo.Users = false
	var second error
	if c, second = launch(ctx, o, todo, input, more); second != nil {
		return nil, errors.Join(err, second)
	}
	noUserNamespace(o.Logger, err)
	return c, nil
}

var logOnce sync.Once

func noUserNamespace(log *slog.Logger, err error) {
	logOnce.Do(func() {
		log.Warn("artifacts are read without a user namespace of their own: the kernel refuses one", "error", err)
	})
}

func launch(ctx context.Context, o Options, todo orders, input *os.File, more []*os.File) (*child, error) {
	c, err := newChild(ctx, o, todo, input)
	if err != nil {
		return nil, err
	}
	c.cmd.ExtraFiles = more
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	c.growPipe()
	return c, nil
}

// newChild returns a child that has not been started.
func newChild(ctx context.Context, o Options, todo orders, input *os.File) (*child, error) {
	env, err := todo.environment()
	if err != nil {
		return nil, err
	}
	c := &child{stdout: limited{limit: maxResult}, stderr: limited{limit: maxStderr}, readErr: make(chan error, 1)}
	c.cmd = exec.CommandContext(ctx, o.Program, o.Args...)
	c.cmd.Env = []string{env}
	c.cmd.Dir = "/"
	c.cmd.Stdout, c.cmd.Stderr = &c.stdout, &c.stderr
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces, Pdeathsig: syscall.SIGKILL, Setsid: true}
	if todo.Users {
		c.cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		if err := mapAll(c.cmd.SysProcAttr); err != nil {
			return nil, err
		}
	}
	if input != nil {
		c.cmd.Stdin = input
	} else if c.input, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	return c, nil
}

// growPipe makes the pipe to the child larger if the kernel allows that.
func (c *child) growPipe() {
	f, ok := c.input.(*os.File)
	if !ok {
		return
	}
	if raw, err := f.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize) })
	}
}

// mapAll maps all users and groups of this namespace to themselves, so that files can have
// any owner.
func mapAll(attr *syscall.SysProcAttr) error {
	users, err := user.CurrentProcessUIDMap()
	if err != nil {
		return err
	}
	groups, err := user.CurrentProcessGIDMap()
	if err != nil {
		return err
	}
	attr.UidMappings, attr.GidMappings, attr.GidMappingsEnableSetgroups = same(users), same(groups), true
	return nil
}

func same(ids []user.IDMap) (mappings []syscall.SysProcIDMap) {
	for _, m := range ids {
		mappings = append(mappings, syscall.SysProcIDMap{ContainerID: int(m.ID), HostID: int(m.ID), Size: int(m.Count)})
	}
	return mappings
}

// Main is the child of Stage and Digest. It returns its exit status.
func Main(in io.Reader, out io.Writer) int {
	res, err := runChild(in)
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

func runChild(in io.Reader) (result, error) {
	var todo orders
	if err := json.Unmarshal([]byte(os.Getenv(ordersKey)), &todo); err != nil {
		return result{}, fmt.Errorf("only keelson starts this program: cannot read %s: %w", ordersKey, err)
	}
	if !todo.Confined {
		return result{}, confine(todo)
	}
	signal.Ignore(unix.SIGXFSZ) // A write then fails.
	debug.SetMemoryLimit(maxData / 2)
	unix.Umask(0)
	if err := FilterCalls(); errors.Is(err, errNoFilter) {
		fmt.Fprintln(os.Stderr, "the artifact is read without a filter of system calls:", err) // The parent logs it.
	} else if err != nil {
		return result{}, err
	}
	if todo.Copy != nil {
		file, ok := in.(*os.File)
		if !ok {
			return result{}, errors.New("the standard input is no file")
		}
		sum, err := copyPart(file, os.NewFile(copyTarget, "root"), *todo.Copy)
		return result{Digest: sum}, err
	}
	if todo.Digest {
		sum, err := sumOf(in)
		return result{Digest: sum}, err
	}
	if todo.Asks {
		images, err := readImages()
		if err != nil {
			return result{}, err
		}
		todo.Images = images
	}
	meta, err := unpackHere(in, todo.settings)
	return result{Meta: &meta}, err
}

// unpackHere reads an artifact into the root of this process.
func unpackHere(in io.Reader, s settings) (artifact.Meta, error) {
	root, err := os.OpenRoot("/")
	if err != nil {
		return artifact.Meta{}, err
	}
	defer root.Close()
	meta, err := unpack(root, in, s)
	if err != nil || s.DeferRoot && meta.RootDigest != "" {
		return meta, err
	}
	return meta, syncFS(root)
}

// syncFS writes the file system of root to its disk: one call instead of one for each of
// thousands of files.
func syncFS(root *os.Root) error {
	f, err := root.Open(".")
	if err != nil {
		return fmt.Errorf("cannot sync the staging folder: %w", err)
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("cannot sync the staging folder: %w", err)
	}
	return nil
}
