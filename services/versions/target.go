package versions

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// Target is what a link leads to.
type Target string

// Targets that are no versions.
const (
	Image   Target = "image"   // the bundle of the image
	Removed Target = "removed" // no bundle: the service does not exist
)

// versionName is the form of a version. Those of container images end with a sum of the settings
// with which the image was merged.
var (
	digest      = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^sha256:[0-9a-f]{64}$`) })
	versionName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^sha256-([0-9a-f]{64})(-[0-9a-f]{16})?$`) })
)

// TargetOf returns the version with a digest, as the OCI image specification writes it
// (descriptor.md, "Digests").
func TargetOf(d string) (Target, error) {
	if !digest().MatchString(d) {
		return "", fmt.Errorf("cannot use digest %q: want sha256: and 64 hexadecimal digits", d)
	}
	return Target(strings.Replace(d, ":", "-", 1)), nil
}

// mergedWith returns the version of a container image whose bundle has these files. Merged
// with other settings, the same image is another version.
func (t Target) mergedWith(config, runtime []byte) Target {
	sum := sha256.New()
	for _, text := range [][]byte{config, runtime} {
		fmt.Fprintf(sum, "%d %s", len(text), text)
	}
	return Target(fmt.Sprintf("%s-%x", string(t), sum.Sum(nil)[:8]))
}

// IsVersion reports whether t is a version.
func (t Target) IsVersion() bool { return versionName().MatchString(string(t)) }

// Digest returns the digest of the manifest of a version, or "".
func (t Target) Digest() string {
	if m := versionName().FindStringSubmatch(string(t)); m != nil {
		return "sha256:" + m[1]
	}
	return ""
}

// String is for people: a version has the first digits of its digest.
func (t Target) String() string {
	const shown = len("sha256-") + 12
	if t.IsVersion() {
		return strings.Replace(string(t[:shown]), "-", ":", 1)
	}
	return string(t)
}

// Text is for programs: the whole digest of a version, else the target.
func (t Target) Text() string { return cmp.Or(t.Digest(), string(t)) }

// valid reports whether a link may lead to t.
func (t Target) valid() bool { return t == Image || t == Removed || t.IsVersion() }
