package containerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	containersapi "github.com/containerd/containerd/api/services/containers/v1"
	tasksapi "github.com/containerd/containerd/api/services/tasks/v1"
)

// serviceLabel marks containers of services; its value is the name of the service.
const serviceLabel = "keelson.service"

// askTime is how long containerd may take to say what it knows of one task.
const askTime = 10 * time.Second

// Swept is what Sweep has removed of one task.
type Swept struct {
	Namespace, ID string
	Cgroups       []string // paths of cgroups in which its processes were
}

// Sweep removes, in these namespaces of containerd, what nobody uses:
//
//   - shims, containers of the runtime and bundles of tasks that containerd does not know, because it
//     was killed while it made or deleted them. They are found on the machine: their service may not
//     exist any more. Those that a client other than the supervisor has recorded are not touched, since
//     it may be making them.
//   - tasks and containers of services that are not wanted. Until wanted returns, and if it returns
//     false until the container is removed, Create of the same ID waits.
//
// What Create is making is not touched. Sweep continues after errors.
func (c *Client) Sweep(ctx context.Context, namespaces []string, wanted func(namespace, id string) bool) (swept []Swept, err error) {
	var errs []error
	for _, namespace := range namespaces {
		ids, err := c.candidates(ctx, namespace)
		errs = append(errs, err)
		for _, id := range slices.Sorted(maps.Keys(ids)) {
			if ids[id] && wanted(namespace, id) {
				continue
			}
			one, err := c.sweep(ctx, namespace, id, wanted)
			errs = append(errs, err)
			if one != nil {
				swept = append(swept, *one)
			}
		}
	}
	return swept, errors.Join(errs...)
}

// candidates returns the IDs of all that is on the machine or that containerd has of services, and whether
// it knows the task.
func (c *Client) candidates(ctx context.Context, namespace string) (ids map[string]bool, err error) {
	ids = map[string]bool{}
	all, err := shims("/proc", c.socket)
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{filepath.Join(c.bundles(), namespace), filepath.Join(runcRoot, namespace)} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("cannot find tasks: %w", err)
		}
		for _, e := range entries {
			ids[strings.TrimPrefix(e.Name(), ".")] = false // containerd deletes a bundle after it has renamed it.
		}
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	r, err := c.containers.List(withNamespace(ctx, namespace), &containersapi.ListContainersRequest{Filters: []string{`labels."` + serviceLabel + `"`}})
	if err != nil {
		return nil, failed("cannot list containers", err)
	}
	for _, one := range r.GetContainers() {
		ids[one.GetID()] = false
	}
	tasks, err := c.List(ctx, namespace)
	if err != nil {
		return nil, err
	}
	var used []int
	for _, t := range tasks {
		used = append(used, t.PID)
	}
	for _, s := range all {
		if s.namespace == namespace && !isUsed("/proc", s.pid, used) { // Several tasks may share one.
			ids[s.id] = false
		}
	}
	for _, t := range tasks {
		if _, ok := ids[t.ID]; ok {
			ids[t.ID] = true
		}
	}
	return ids, nil
}

// sweep removes what nobody uses of one task. It returns nil if that is nothing.
func (c *Client) sweep(ctx context.Context, namespace, id string, wanted func(namespace, id string) bool) (*Swept, error) {
	unlock, ok := c.making.try(namespace + "/" + id)
	if !ok {
		return nil, nil
	}
	defer unlock()
	known, service, foreign, err := c.knows(ctx, namespace, id)
	switch {
	case err != nil:
		return nil, err
	case known && (!service || wanted(namespace, id)), !known && foreign:
		return nil, nil
	}
	limited, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	if err := c.Delete(limited, namespace, id); err != nil {
		return nil, err
	}
	cgroups, err := c.removeLeftover(ctx, namespace, id)
	if err != nil {
		return nil, err
	}
	return &Swept{namespace, id, cgroups}, nil
}

// knows reports whether containerd knows a task, and whether its container is that of a service
// or was made by another client.
func (c *Client) knows(ctx context.Context, namespace, id string) (task, service, foreign bool, err error) {
	ctx, cancel := context.WithTimeout(withNamespace(ctx, namespace), askTime)
	defer cancel()
	if _, err := c.tasks.Get(ctx, &tasksapi.GetRequest{ContainerID: id}); err == nil {
		task = true
	} else if !notFound(err) {
		return false, false, false, failed("cannot find out whether there is a task "+id, err)
	}
	r, err := c.containers.Get(ctx, &containersapi.GetContainerRequest{ID: id})
	if err != nil && !notFound(err) {
		return false, false, false, failed("cannot find out whether there is a container "+id, err)
	}
	if err == nil {
		_, service = r.GetContainer().GetLabels()[serviceLabel]
		foreign = !service
	}
	return task, service, foreign, nil
}

// locks are locks by key, of which only those that are held exist.
type locks struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed when the lock is released
}

// try takes a lock unless it is held.
func (l *locks) try(key string) (unlock func(), ok bool) {
	unlock, _ = l.take(key)
	return unlock, unlock != nil
}

// lock waits for a lock until ctx ends.
func (l *locks) lock(ctx context.Context, key string) (unlock func(), err error) {
	for {
		unlock, held := l.take(key)
		if unlock != nil {
			return unlock, nil
		}
		select {
		case <-held:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// take takes a lock, or returns the channel that is closed when it is released.
func (l *locks) take(key string) (unlock func(), held <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if held, ok := l.held[key]; ok {
		return nil, held
	}
	done := make(chan struct{})
	if l.held == nil {
		l.held = map[string]chan struct{}{}
	}
	l.held[key] = done
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.held, key)
		close(done)
	}, nil
}
