// Package offer passes listening sockets from the supervisor to the shim of the container
// that gets them: containerd's API passes no descriptors. While the container is made, the
// supervisor listens on a Unix socket of its own for the container (New); the shim asks there
// before it runs the runtime (Fetch). A container without an offer costs the shim a stat(2).
//
// The package is small because each shim contains it. Errors name the container.
//
// Source: unix(7).
package offer

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/fdpass"
	"keelson/runtime/paths"
	"keelson/runtime/peer"
)

// offerTime is how long a shim may take to send its request.
const offerTime = 10 * time.Second

// Offer passes sockets to the shim of one container while that is made.
type Offer struct {
	path      string
	container string
	files     []*os.File
	listener  *net.UnixListener
	taken     atomic.Bool
	serving   sync.WaitGroup
}

// New offers files to the shim of a container, below dir. Close must be called.
func New(dir, namespace, id string, files []*os.File) (*Offer, error) {
	o := &Offer{path: filepath.Join(dir, id), container: namespace + "/" + id, files: files}
	if err := o.listen(); err != nil {
		return nil, fmt.Errorf("cannot offer the sockets of %s to its shim: %w", id, err)
	}
	o.serving.Go(o.serve)
	return o, nil
}

func (o *Offer) listen() error {
	if err := os.MkdirAll(filepath.Dir(o.path), 0o700); err != nil {
		return err
	}
	if err := os.Remove(o.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: o.path, Net: "unixpacket"})
	if err != nil {
		return err
	}
	o.listener = l
	if err := os.Chmod(o.path, 0o600); err != nil {
		return errors.Join(err, l.Close())
	}
	return nil
}

func (o *Offer) serve() {
	for {
		conn, err := o.listener.AcceptUnix()
		if err != nil {
			return // Closed, or the shim reports that it gets no answer.
		}
		if o.answer(conn) == nil {
			o.taken.Store(true)
		}
		_ = conn.Close()
	}
}

// answer sends the descriptors to the shim of the container. The shim is a process of the
// same user as this one.
func (o *Offer) answer(conn *net.UnixConn) error {
	if err := conn.SetDeadline(time.Now().Add(offerTime)); err != nil {
		return err
	}
	shim, err := peer.Of(conn)
	if err == nil && int(shim.Uid) != os.Geteuid() {
		err = unix.EPERM
	}
	if err != nil {
		return err
	}
	request := make([]byte, len(o.container)+1)
	n, err := conn.Read(request)
	if err != nil || string(request[:n]) != o.container {
		return errors.Join(err, errors.New("another container asks"))
	}
	var fds []int
	for _, f := range o.files {
		fds = append(fds, int(f.Fd()))
	}
	_, _, err = conn.WriteMsgUnix([]byte{byte(len(fds))}, unix.UnixRights(fds...), nil)
	return err
}

// Close ends the offer, and reports whether the shim has taken the sockets. A nil Offer,
// of a container without sockets, counts as taken.
func (o *Offer) Close() (taken bool) {
	if o == nil {
		return true
	}
	_ = o.listener.Close() // It removes the path.
	o.serving.Wait()
	return o.taken.Load()
}

// Dir is where the supervisor offers sockets to shims.
const Dir = paths.State + "/sockets"

// Sweep removes what a supervisor that was killed has left below dir, except for the offers to
// containers that keep returns true for.
func Sweep(dir string, keep func(id string) bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove offers of an earlier supervisor: %w", err)
	}
	var all error
	for _, e := range entries {
		if keep(e.Name()) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			all = errors.Join(all, fmt.Errorf("cannot remove an offer of an earlier supervisor: %w", err))
		}
	}
	return all
}

// Fetch returns the sockets that are offered to the shim of a container; none if nothing
// is offered. The descriptors belong to the caller.
func Fetch(dir, namespace, id string) (files []int, err error) {
	path := filepath.Join(dir, id)
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return nil, nil
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("cannot get the sockets of %s from the supervisor: %w", id, err)
		}
	}()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	limit := unix.NsecToTimeval(int64(offerTime))
	for _, option := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, option, &limit); err != nil {
			return nil, err
		}
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return nil, err
	}
	if err := fdpass.Send(fd, []byte(namespace+"/"+id), nil, 0); err != nil {
		return nil, err
	}
	data, files, err := fdpass.Receive(fd, 1, 0)
	if err == nil && (len(data) != 1 || int(data[0]) != len(files) || len(files) == 0) {
		fdpass.Close(files)
		return nil, errors.New("they are refused to this container")
	}
	return files, err
}
