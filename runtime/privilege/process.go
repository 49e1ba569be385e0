package privilege

import (
	"encoding/json"
	"iter"
	"maps"
	"slices"
	"strconv"
)

// keysOf returns the keys of both objects in order.
func keysOf(a, b object) iter.Seq[string] {
	keys := maps.Clone(b)
	if keys == nil {
		keys = object{}
	}
	maps.Copy(keys, a)
	return slices.Values(slices.Sorted(maps.Keys(keys)))
}

// user compares users and groups. Root with CAP_SETUID (CAP_SETGID) could be any user
// (group) before. Without it, another user is a gain even for root: that user's files
// become accessible.
func user(c *comparison, field string, was, is any) {
	a, b, ok := bothObjects(was, is)
	if !ok {
		c.changed(field, was, is)
		return
	}
	for _, id := range []struct{ key, capability, root, other string }{
		{"uid", "CAP_SETUID", "the service runs as root", "the service runs as another user, whose files it can access"},
		{"gid", "CAP_SETGID", "the service runs in the group of root", "the service runs in another group, whose files it can access"},
	} {
		before, now := idText(a[id.key]), idText(b[id.key])
		switch {
		case before == now || c.rootHad(id.capability):
		case now == "0":
			c.add(field+"."+id.key, now, a[id.key], b[id.key], id.root)
		default:
			c.add(field+"."+id.key, now, a[id.key], b[id.key], id.other)
		}
	}
	if !c.rootHad("CAP_SETGID") {
		added("the service is in another group, whose files it can access", text)(c, field+".additionalGids", a["additionalGids"], b["additionalGids"])
	}
	c.others(field, a, b, "uid", "gid", "additionalGids", "umask")
}

// idText returns a user or group, which is root's if absent.
func idText(v any) string {
	if v == nil {
		return "0"
	}
	return text(v)
}

// rootHad reports whether the old service was root with a capability.
func (c *comparison) rootHad(capability string) bool {
	process, _ := c.old["process"].(object)
	user, _ := process["user"].(object)
	if idText(user["uid"]) != "0" {
		return false
	}
	caps, ok := process["capabilities"].(object)
	return !ok || slices.Contains(list(caps["permitted"]), any(capability))
}

// capabilities compares each set. Without this field, runc leaves a container all of
// them.
func capabilities(c *comparison, field string, was, is any) {
	if was == nil {
		return
	}
	a, _ := was.(object)
	b, ok := is.(object)
	if !ok {
		c.add(field, "all", was, is, "without this field the service has all capabilities")
		return
	}
	sets := []string{"ambient", "bounding", "effective", "inheritable", "permitted"}
	for _, set := range sets {
		added("the service gets the capability", text)(c, field+"."+set, a[set], b[set])
	}
	c.others(field, a, b, sets...)
}

// rlimits compares the soft and the hard limit of each resource. A limit that is absent
// is inherited and so not known here.
func rlimits(c *comparison, field string, was, is any) {
	const why = "the limit is raised, removed or new"
	before, now := byKey(was, "type"), byKey(is, "type")
	for kind := range keysOf(before, now) {
		a, _ := before[kind].(object)
		b, _ := now[kind].(object)
		if same(a, b) || a != nil && b != nil && atMost(b["soft"], a["soft"]) && atMost(b["hard"], a["hard"]) && rest(b, "type", "soft", "hard") == "" {
			continue
		}
		item := kind + ":none"
		if b != nil {
			item = kind + ":" + idText(b["soft"]) + ":" + idText(b["hard"])
		}
		c.add(field, item, before[kind], now[kind], why)
	}
	if len(now) != len(list(is)) {
		c.changed(field, was, is)
	}
}

// atMost compares two numbers of 64 bits. An absent one is 0.
func atMost(a, b any) bool {
	x, errX := strconv.ParseUint(idText(a), 10, 64)
	y, errY := strconv.ParseUint(idText(b), 10, 64)
	return errX == nil && errY == nil && x <= y
}

// byKey returns the objects of a list by a field.
func byKey(v any, key string) object {
	found := object{}
	for _, e := range list(v) {
		if o, ok := e.(object); ok {
			found[str(o[key])] = o
		}
	}
	return found
}

// device returns a device node on one line.
func device(v any) string {
	o, _ := v.(object)
	item := str(o["type"]) + " " + idText(o["major"]) + ":" + idText(o["minor"]) + " " + str(o["path"])
	if more := rest(o, "type", "major", "minor", "path"); more != "" {
		item += " " + more
	}
	return item
}

// deviceRule returns a rule of the device cgroup on one line.
func deviceRule(v any) string {
	o, _ := v.(object)
	part := func(key string) string {
		if n, ok := o[key].(json.Number); ok {
			return n.String()
		}
		return "*"
	}
	kind := str(o["type"])
	if kind == "" {
		kind = "a"
	}
	item := kind + " " + part("major") + ":" + part("minor") + " " + str(o["access"])
	if more := rest(o, "allow", "type", "major", "minor", "access"); more != "" {
		item += " " + more
	}
	return item
}

// deviceRules compares rules whose later ones override earlier ones.
func deviceRules(c *comparison, field string, was, is any) {
	added("access to devices is allowed", deviceRule)(c, field, allowing(was, true), allowing(is, true))
	removed("access to devices is denied no more")(c, field, allowing(was, false), allowing(is, false))
	if !inOrder(was, is) {
		c.add(field, "order", was, is, "the rules are in another order")
	}
	c.wantList(field, was, is)
}

// allowing returns the rules that allow, or those that deny.
func allowing(v any, allow bool) any {
	return slices.DeleteFunc(slices.Clone(list(v)), func(r any) bool {
		o, _ := r.(object)
		return (o["allow"] == true) != allow
	})
}
