// Package keyring recognizes containers that cannot be made because the kernel has no
// key left for their user. The OCI runtime makes each container a session keyring,
// which is a key. Keys are counted per user, and each container that runs as root may
// take all that root has (keyrings(7); /proc/sys/kernel/keys/root_maxkeys and
// root_maxbytes, security/keys/core.rst).
package keyring

import "strings"

// Notice is what is reported when a container is made without a session keyring.
const Notice = "no key is left for a session keyring (kernel.keys.root_maxkeys and root_maxbytes, of other users " +
	"kernel.keys.maxkeys and maxbytes): the container is made without one; /proc/key-users shows their users"

// Exhausted reports whether the message of a runtime means that the kernel refused a
// session keyring (EDQUOT of keyctl(2)). runc prints "unable to join session keyring:
// unable to create session key: disk quota exceeded", crun "create keyring `NAME`:
// Disk quota exceeded".
func Exhausted(message string) bool {
	message = strings.ToLower(message)
	return strings.Contains(message, "keyring") && strings.Contains(message, "disk quota exceeded")
}
