package control

import (
	"fmt"
	"net/http"
	"strings"
)

// Role is what a client of the gate may do. A role may do what those before it may.
type Role int

// Roles. The zero value may do nothing, so that an operation without a role is refused.
const (
	NoRole   Role = iota
	Reader        // reads what is no secret, and changes nothing
	Operator      // starts, stops and restarts services, and reads what they write
	Admin         // does everything, as root on the machine does
)

// Headers by which the gate says for whom it sends a request.
const (
	RoleHeader   = "Keelson-Role"
	ClientHeader = "Keelson-Client"
)

var roleNames = [...]string{NoRole: "none", Reader: "reader", Operator: "operator", Admin: "admin"}

// Roles returns the names of the roles, the least first.
func Roles() []string { return roleNames[Reader:] }

// ParseRole returns the role with a name.
func ParseRole(name string) (Role, error) {
	for role := Reader; role <= Admin; role++ {
		if roleNames[role] == name {
			return role, nil
		}
	}
	return NoRole, fmt.Errorf("there is no role %.64q: the roles are %s", name, strings.Join(Roles(), ", "))
}

// String returns the name of a role.
func (r Role) String() string {
	if r < NoRole || r > Admin {
		r = NoRole
	}
	return roleNames[r]
}

// May reports whether a client with role r may do what needs another one.
func (r Role) May(need Role) bool { return need != NoRole && r >= need }

// caller is who sent a request.
type caller struct {
	role   Role
	person string // for people
}

// callerOf returns who sent a request. Whoever has the control socket may do everything; the
// gate says in headers for whom it asks, and may do nothing for itself.
func callerOf(r *http.Request) caller {
	c, ok := r.Context().Value(connKey{}).(*admitted)
	if !ok {
		return caller{}
	}
	if !c.gate {
		return caller{Admin, c.peer.String()}
	}
	role, err := ParseRole(r.Header.Get(RoleHeader))
	client := r.Header.Get(ClientHeader)
	if err != nil || client == "" || len(r.Header.Values(RoleHeader)) != 1 || len(r.Header.Values(ClientHeader)) != 1 {
		return caller{person: "the gate without a client"}
	}
	return caller{role, fmt.Sprintf("%s (%s) through the gate", client, role)}
}

// CallerOf describes who sent a request to a Server, for people.
func CallerOf(r *http.Request) string { return callerOf(r).person }
