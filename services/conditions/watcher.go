// Package conditions watches what services wait for beside other services (package
// condition). A Watcher reports which conditions are met whenever that changes.
//
// The kernel says when something changes: inotify(7) for paths, devices and resolv.conf, poll(2) of
// /proc/self/mountinfo for mounts, rtnetlink(7) for the network. It has no event for the
// clock, which is looked at every second as long as somebody waits for it.
//
// Sources: proc(5), rtnetlink(7), adjtimex(2), inotify(7); linux/route.h for the files of
// routes in /proc/net.
package conditions

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"keelson/runtime/condition"
	"keelson/runtime/watch"
)

const (
	// clockPause is the pause between two looks at a clock that is not synchronised.
	clockPause = time.Second
	// eventPause follows each look: a folder in which much happens costs little.
	eventPause = 20 * time.Millisecond
)

// Watcher watches conditions.
type Watcher struct {
	changed func(map[condition.Condition]bool)
	wake    int // an eventfd

	mu     sync.Mutex
	wanted []condition.Condition
}

// New returns a Watcher that calls changed, from Run, with which of the wanted conditions are
// met: first when they are known, and then at each change. The map belongs to the callee.
func New(changed func(met map[condition.Condition]bool)) (*Watcher, error) {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("cannot watch conditions: %w", os.NewSyscallError("eventfd", err))
	}
	return &Watcher{changed: changed, wake: wake}, nil
}

// Want replaces the conditions that are watched.
func (w *Watcher) Want(conditions []condition.Condition) {
	w.mu.Lock()
	w.wanted = slices.Clone(conditions)
	w.mu.Unlock()
	w.notify()
}

func (w *Watcher) notify() { _, _ = unix.Write(w.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

func (w *Watcher) current() []condition.Condition {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wanted
}

// Run watches until ctx ends. If the kernel refuses a source of events, it looks every
// second, and calls problem once with the reason.
func (w *Watcher) Run(ctx context.Context, problem func(error)) {
	defer context.AfterFunc(ctx, w.notify)()
	s := &sources{inotify: -1, mounts: -1, routes: -1}
	defer s.close()
	var last map[condition.Condition]bool
	for ctx.Err() == nil {
		wanted := w.current()
		s.open(wanted, problem) // Before the look, so that no change is missed.
		now := look(wanted, last, met)
		if last == nil || !maps.Equal(now, last) {
			last = now
			w.changed(maps.Clone(now))
		}
		s.wait(w.wake, s.pause(wanted, now))
		pause := time.NewTimer(eventPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
	}
}

// look returns which conditions are met. A clock that was synchronised stays met: the kernel would
// have to be asked all the time, and forgets it for a while when a program that keeps the clock is
// started again.
func look(wanted []condition.Condition, last map[condition.Condition]bool, met func(condition.Condition) bool) map[condition.Condition]bool {
	now := map[condition.Condition]bool{}
	for _, c := range wanted {
		now[c] = c.Kind == condition.Clock && last[c] || met(c)
	}
	return now
}

// sources are file descriptors that tell of changes; -1 if they are not needed.
type sources struct {
	inotify, mounts, routes int
	polls                   bool // the kernel refuses one
	told                    bool
	buffer                  [4096]byte
}

func (s *sources) close() {
	for _, fd := range []*int{&s.inotify, &s.mounts, &s.routes} {
		if *fd >= 0 {
			_ = unix.Close(*fd)
			*fd = -1
		}
	}
}

// open opens what the conditions need, and watches the folders in which paths may appear.
func (s *sources) open(wanted []condition.Condition, problem func(error)) {
	var errs []error
	s.polls = false
	for _, c := range wanted {
		var err error
		switch c.Kind {
		case condition.Path, condition.Device:
			err = errors.Join(s.watchPath(c.Arg), s.openMounts()) // A mount may cover the path.
		case condition.DNS:
			err = s.watchContent(resolvConf)
		case condition.Mount:
			err = s.openMounts()
		case condition.Net:
			err = s.openRoutes()
		}
		if err != nil {
			s.polls = true
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 && !s.told {
		s.told = true
		problem(fmt.Errorf("conditions are looked at every %v: %w", clockPause, errors.Join(errs...)))
	}
}

// appears are the events of a folder in which a path appears or disappears.
const appears = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR

// watchPath watches the deepest folder on the way to a path that exists. Its events lead to
// the next look, which watches the next one.
func (s *sources) watchPath(name string) error {
	if s.inotify < 0 {
		fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
		if err != nil {
			return os.NewSyscallError("inotify_init1", err)
		}
		s.inotify = fd
	}
	for dir := path.Dir(name); ; dir = path.Dir(dir) {
		_, err := unix.InotifyAddWatch(s.inotify, dir, appears)
		switch {
		case err == nil:
			return nil
		case watch.Exhausted(err) || dir == "/":
			return fmt.Errorf("cannot watch %s: %w", dir, err)
		}
	}
}

// watchContent watches a file that may be a link to another one.
func (s *sources) watchContent(name string) error {
	err := s.watchPath(name)
	if to, linkErr := os.Readlink(name); linkErr == nil {
		if !path.IsAbs(to) {
			to = path.Join(path.Dir(name), to)
		}
		err = errors.Join(err, s.watchPath(to))
	}
	if err != nil {
		return err
	}
	_, err = unix.InotifyAddWatch(s.inotify, name, unix.IN_CLOSE_WRITE|unix.IN_MODIFY)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("cannot watch %s: %w", name, err)
	}
	return nil
}

func (s *sources) openMounts() error {
	if s.mounts >= 0 {
		return nil
	}
	fd, err := unix.Open("/proc/self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot watch mounts: %w", err)
	}
	s.mounts = fd
	return nil
}

// routeGroups are the groups of rtnetlink messages about links, addresses and routes.
const routeGroups = unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR | unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_ROUTE

func (s *sources) openRoutes() error {
	if s.routes >= 0 {
		return nil
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("cannot watch the network: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: routeGroups}); err != nil {
		_ = unix.Close(fd)
		return fmt.Errorf("cannot watch the network: %w", err)
	}
	s.routes = fd
	return nil
}

// pause returns how long to wait for an event at most; negative: without a limit.
func (s *sources) pause(wanted []condition.Condition, met map[condition.Condition]bool) time.Duration {
	if s.polls || slices.ContainsFunc(wanted, func(c condition.Condition) bool { return c.Kind == condition.Clock && !met[c] }) {
		return clockPause
	}
	return -1
}

// wait waits for an event, and takes all that there are.
func (s *sources) wait(wake int, limit time.Duration) {
	fds := []unix.PollFd{{Fd: int32(wake), Events: unix.POLLIN}}
	for fd, events := range map[int]int16{s.inotify: unix.POLLIN, s.mounts: unix.POLLPRI, s.routes: unix.POLLIN} {
		if fd >= 0 {
			fds = append(fds, unix.PollFd{Fd: int32(fd), Events: events})
		}
	}
	milliseconds := -1
	if limit >= 0 {
		milliseconds = int(limit / time.Millisecond)
	}
	_, _ = unix.Poll(fds, milliseconds) // EINTR: an early look does no harm.
	for _, fd := range []int{wake, s.inotify, s.routes} {
		s.drain(fd)
	}
}

// drain reads what is there. Lost events, ENOBUFS of netlink, are no loss: everything is
// looked at.
func (s *sources) drain(fd int) {
	for fd >= 0 {
		n, err := unix.Read(fd, s.buffer[:])
		if err != nil && err != unix.EINTR && err != unix.ENOBUFS || err == nil && n <= 0 {
			return
		}
	}
}
