package boot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"keelson/init/role"
	"keelson/netcfg"
	"keelson/runtime/backoff"
	"keelson/runtime/bundle"
	"keelson/runtime/timeline"
	"keelson/runtime/userspace"
)

const (
	// linkGrace is how long all onboot containers in the host's network namespace
	// together wait for links that ip= names: a USB adapter needs a second or two.
	linkGrace = 3 * time.Second
	// watchPause is the pause before another attempt to watch links.
	watchPause = time.Second
)

// network brings up lo and applies each ip= as far as possible. A parameter whose
// link does not exist yet is left to the role Network.
func network(ctx context.Context, rc roleContext) (string, error) {
	failed := netcfg.Loopback()
	done := []string{"lo"}
	values := rc.line.Values("ip")
	list, errs := parseIPs(values)
	if len(values) > 0 {
		errs = append(errs, setNames(list, rc.line.Values("nameserver"))...)
	}
	var late []string
	for i, p := range list {
		there, err := p.Present()
		switch {
		case !p.NeedsLink():
		case err == nil && !there:
			late = append(late, strconv.Itoa(i))
			rc.log.Warn("a network device is missing; the boot continues, and the device is configured when it appears", "ip", values[i])
		default:
			logErrors(rc.log, apply(ctx, list, i), "ip", values[i])
			done = append(done, "ip="+values[i])
		}
		logDHCP(rc.log, p, values[i])
	}
	if len(late) > 0 {
		errs = append(errs, rc.links.start(late))
	}
	logErrors(rc.log, errors.Join(errs...))
	return strings.Join(done, " "), failed
}

func parseIPs(values []string) (list []netcfg.IPParam, errs []error) {
	for _, value := range values {
		p, err := netcfg.ParseIP(value)
		list, errs = append(list, p), append(errs, err)
	}
	return list, errs
}

// setNames sets what needs no link: the last host name, and all name servers, first
// those of ip=, then those of nameserver= (dracut.cmdline(7)).
func setNames(list []netcfg.IPParam, nameservers []string) (errs []error) {
	var servers []netip.Addr
	for _, p := range list {
		errs = append(errs, p.SetHostName())
		servers = append(servers, p.DNS...)
	}
	for _, text := range nameservers {
		addr, err := netip.ParseAddr(strings.Trim(text, "[]"))
		if err != nil {
			errs = append(errs, fmt.Errorf("cannot use nameserver=%s: not an IP address", text))
			continue
		}
		servers = append(servers, addr)
	}
	return append(errs, netcfg.NameServers(servers))
}

func apply(ctx context.Context, list []netcfg.IPParam, i int) error {
	ctx, cancel := context.WithTimeout(ctx, linkGrace) // The link has existed before.
	defer cancel()
	_, err := list[i].Apply(ctx, netcfg.Rank(list, i))
	return err
}

// logDHCP logs what is done about a parameter that asks for DHCP. A kernel that has
// the code (CONFIG_IP_PNP) and the drivers has used DHCP itself.
func logDHCP(log *slog.Logger, p netcfg.IPParam, value string) {
	if p.Dynamic == "" {
		return
	}
	if there, err := p.Configured(); err == nil && there != "" {
		log.Info("the kernel has configured the network", "ip", value, "address", there)
		return
	}
	log.Warn("init has no DHCP client: this parameter needs the network service, or a client among the onboot containers", "ip", value)
}

// logErrors logs each error that err is joined from in a line of its own.
func logErrors(log *slog.Logger, err error, args ...any) {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range many.Unwrap() {
			logErrors(log, one, args...)
		}
	} else if err != nil {
		log.Error("a part of the network is not configured", append(args, "error", err)...)
	}
}

// links are the network devices for which the role Network waits.
type links struct {
	done   chan struct{} // closed when the role has ended; nil when it does not run
	until  time.Time     // end of linkGrace
	missed bool          // a container was started without them
}

// start starts the role Network for the parameters with the given numbers. It
// outlives this role.
func (l *links) start(numbers []string) error {
	c := exec.Command(role.Init, append([]string{role.Network}, numbers...)...)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	if err := c.Start(); err != nil {
		return fmt.Errorf("cannot wait for network devices: cannot start init %s: %w", role.Network, err)
	}
	l.done, l.until = make(chan struct{}), time.Now().Add(linkGrace)
	go func() {
		defer close(l.done)
		_ = c.Wait() // It reports failures itself.
	}()
	return nil
}

// wait waits until the links are configured, if the container may use them. It
// reports whether this is the first container that starts without them.
func (l *links) wait(ctx context.Context, b *bundle.Bundle) bool {
	if l == nil || l.done == nil || l.missed || !onHostNetwork(b.Spec) {
		return false
	}
	ctx, cancel := context.WithDeadline(ctx, l.until)
	defer cancel()
	select {
	case <-l.done:
		return false
	case <-ctx.Done():
		l.missed = errors.Is(ctx.Err(), context.DeadlineExceeded)
		return l.missed
	}
}

// onHostNetwork reports whether a container has no network namespace of its own.
func onHostNetwork(s *specs.Spec) bool {
	if s == nil || s.Linux == nil {
		return true
	}
	for _, n := range s.Linux.Namespaces {
		if n.Type == specs.NetworkNamespace {
			return n.Path == "/proc/1/ns/net"
		}
	}
	return true
}

// Network is the role that waits for links and applies the ip= parameters with the
// given numbers, counted from 0. It returns when all are applied or ctx ends.
func Network(ctx context.Context, env userspace.Environment, numbers []string) error {
	return runRole(env, func(rc roleContext) error {
		values := rc.line.Values("ip")
		list, _ := parseIPs(values) // The boot role has reported errors.
		var all sync.WaitGroup
		for _, text := range numbers {
			i, err := strconv.Atoi(text)
			if err != nil || i < 0 || i >= len(list) {
				return fmt.Errorf("no ip= parameter has the number %q", text)
			}
			all.Go(func() { applyLate(ctx, rc, list, i, values[i]) })
		}
		all.Wait()
		return nil
	})
}

func applyLate(ctx context.Context, rc roleContext, list []netcfg.IPParam, i int, value string) {
	device, err := list[i].Apply(ctx, netcfg.Rank(list, i))
	for errors.Is(err, netcfg.ErrWatchEnded) && backoff.Wait(ctx, watchPause) {
		device, err = list[i].Apply(ctx, netcfg.Rank(list, i))
	}
	if ctx.Err() != nil {
		return
	}
	logErrors(rc.log, err, "ip", value)
	rc.console.Event(timeline.Event{At: timeline.Now(), Stage: timeline.Network, Name: device, Result: "ip=" + value})
}
