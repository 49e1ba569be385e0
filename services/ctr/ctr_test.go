package ctr

import (
	"errors"
	"flag"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

func TestParse(t *testing.T) {
	base := invocation{socket: defaultSocket, namespace: defaultNamespace}
	with := func(set func(*invocation)) invocation { inv := base; set(&inv); return inv }
	for args, want := range map[string]invocation{
		"tasks ls":                              with(func(i *invocation) { i.verb = "tasks ls" }),
		"-n services.linuxkit t list -q":        with(func(i *invocation) { i.namespace, i.verb, i.quiet = "services.linuxkit", "tasks ls", true }),
		"--namespace=a -a unix:///s task ls":    with(func(i *invocation) { i.namespace, i.socket, i.verb = "a", "/s", "tasks ls" }),
		"c ls --quiet":                          with(func(i *invocation) { i.verb, i.quiet = "containers ls", true }),
		"c info web --spec":                     with(func(i *invocation) { i.verb, i.id, i.spec = "containers info", "web", true }),
		"ns ls":                                 with(func(i *invocation) { i.verb = "namespaces ls" }),
		"version":                               with(func(i *invocation) { i.verb = "version" }),
		"-v":                                    with(func(i *invocation) { i.verb = "--version" }),
		"tasks ps web":                          with(func(i *invocation) { i.verb, i.id = "tasks ps", "web" }),
		"tasks pause web":                       with(func(i *invocation) { i.verb, i.id = "tasks pause", "web" }),
		"tasks kill web":                        with(func(i *invocation) { i.verb, i.id, i.signal = "tasks kill", "web", syscall.SIGTERM }),
		"tasks kill -s 9 -a web":                with(func(i *invocation) { i.verb, i.id, i.signal, i.all = "tasks kill", "web", syscall.SIGKILL, true }),
		"tasks kill web --signal hup":           with(func(i *invocation) { i.verb, i.id, i.signal = "tasks kill", "web", syscall.SIGHUP }),
		"tasks kill -s SIGUSR1 --exec-id x web": with(func(i *invocation) { i.verb, i.id, i.signal, i.execID = "tasks kill", "web", syscall.SIGUSR1, "x" }),
		"tasks exec -t --exec-id x web sh -c -t": with(func(i *invocation) {
			i.verb, i.id, i.execID, i.tty, i.args = "tasks exec", "web", "x", true, []string{"sh", "-c", "-t"}
		}),
		"tasks exec --exec-id=x --user 1:2 --cwd /d -d web id": with(func(i *invocation) {
			i.verb, i.id, i.execID, i.user, i.cwd, i.detach, i.args = "tasks exec", "web", "x", "1:2", "/d", true, []string{"id"}
		}),
	} {
		if got, err := parse(strings.Fields(args)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v, want %+v", args, got, err, want)
		}
	}
}

// Commands of ctr that are not supported, and wrong ones, give different errors.
func TestParseErrors(t *testing.T) {
	for args, unsupported := range map[string]bool{
		"images ls": true, "run a b": true, "tasks delete web": true, "namespaces create a": true, "containers ls id==web": true,
		"tasks ls --bogus": false, "tasks ps": false, "tasks kill": false, "tasks kill -s BOGUS web": false, "tasks kill -s 65 web": false,
		"tasks kill -a --exec-id x web": false, "tasks exec web sh": false, "tasks exec --exec-id x web": false,
		"tasks exec --exec-id a/b web sh": false, "tasks exec -t -d --exec-id x web sh": false,
	} {
		if _, err := parse(strings.Fields(args)); err == nil || errors.Is(err, flag.ErrHelp) || errors.Is(err, errUnsupported) != unsupported {
			t.Errorf("%s: %v", args, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, args := range []string{"-n a tasks exec --exec-id x -t web sh -c x", "tasks kill -s 9 -a web", "c info --spec web", "version", "--timeout=1s ns ls -q"} {
		f.Add(args)
	}
	f.Fuzz(func(t *testing.T, text string) {
		inv, err := parse(strings.Split(text, " "))
		if err == nil && (inv.verb == "" || inv.verb == "tasks exec" && (len(inv.args) == 0 || strings.Contains(inv.execID, "/"))) {
			t.Errorf("%+v", inv)
		}
	})
}
