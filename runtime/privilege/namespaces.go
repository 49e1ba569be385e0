package privilege

// States of a namespace of a container, other than a path.
const (
	hostNamespace = "host"
	newNamespace  = "new"
)

// namespaces compares which namespaces a container shares. A new one of its own is never a
// gain.
func namespaces(c *comparison, field string, was, is any) {
	before, now := states(was), states(is)
	all := object{}
	for _, m := range []map[string]string{before, now} {
		for kind := range m {
			all[kind] = true
		}
	}
	for kind := range keysOf(all, nil) {
		a, b := stateOf(before, kind), stateOf(now, kind)
		if a != b && b != newNamespace {
			c.add(field, kind+":"+b, a, b, "the namespace is shared with the machine or another container")
		}
	}
	if n := len(list(is)); n != len(now) || hasUnknown(is) {
		c.changed(field, was, is)
	}
	c.wantList(field, was, is)
}

// namespaceStates returns the state of each namespace that a bundle names.
func namespaceStates(tree object) map[string]string {
	linux, _ := tree["linux"].(object)
	return states(linux["namespaces"])
}

func states(v any) map[string]string {
	found := map[string]string{}
	for _, e := range list(v) {
		o, _ := e.(object)
		state := str(o["path"])
		if state == "" {
			state = newNamespace
		}
		found[str(o["type"])] = state
	}
	return found
}

func stateOf(states map[string]string, kind string) string {
	if s, ok := states[kind]; ok {
		return s
	}
	return hostNamespace
}

// hasUnknown reports whether a namespace has a field that this program does not know.
func hasUnknown(v any) bool {
	for _, e := range list(v) {
		if o, ok := e.(object); !ok || rest(o, "type", "path") != "" {
			return true
		}
	}
	return false
}

// bindNS compares the files at which namespaces are bound on the machine.
func bindNS(c *comparison, field string, was, is any) {
	a, b, ok := bothObjects(was, is)
	if !ok {
		c.changed(field, was, is)
		return
	}
	for key := range keysOf(a, b) {
		if !zero(b[key]) && !same(a[key], b[key]) {
			c.add(field+"."+key, text(b[key]), a[key], b[key], "a file of the machine is replaced by the namespace")
		}
	}
}
