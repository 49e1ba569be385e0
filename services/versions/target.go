package versions

import (
	"fmt"
	"regexp"
	"strings"
)

// Target is what a link leads to.
type Target string

// Targets that are no versions.
const (
	Image   Target = "image"   // the bundle of the image
	Removed Target = "removed" // no bundle: the service does not exist
)

const digestPrefix = "sha256-"

var digest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// TargetOf returns the version with a digest, as the OCI image specification writes it
// (descriptor.md, "Digests").
func TargetOf(d string) (Target, error) {
	if !digest.MatchString(d) {
		return "", fmt.Errorf("cannot use digest %q: want sha256: and 64 hexadecimal digits", d)
	}
	return Target(strings.Replace(d, ":", "-", 1)), nil
}

// IsVersion reports whether t is a version.
func (t Target) IsVersion() bool {
	return digest.MatchString(strings.Replace(string(t), "-", ":", 1)) && strings.HasPrefix(string(t), digestPrefix)
}

// Digest returns the digest of a version, or "".
func (t Target) Digest() string {
	if !t.IsVersion() {
		return ""
	}
	return strings.Replace(string(t), "-", ":", 1)
}

// String is for people: a version has the first digits of its digest.
func (t Target) String() string {
	const shown = len(digestPrefix) + 12
	if t.IsVersion() {
		return strings.Replace(string(t[:shown]), "-", ":", 1)
	}
	return string(t)
}

// valid reports whether a link may lead to t.
func (t Target) valid() bool { return t == Image || t == Removed || t.IsVersion() }
