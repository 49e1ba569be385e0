// Package signature verifies the signatures of artifacts, in the format of minisign(1):
// Ed25519 over artifact.SignedText, which contains the digest of the manifest. The manifest
// contains the digests of everything else.
//
// A signature does not expire: an old version of a service that was signed once stays
// signed. Only another key changes that.
//
// Source: https://jedisct1.github.io/minisign/, section "Signature format".
package signature

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/jedisct1/go-minisign"

	"keelson/runtime/artifact"
)

// Key is a public key of minisign.
type Key struct{ key minisign.PublicKey }

// ParseKey reads a public key: the content of a file that minisign wrote, or its last line.
func ParseKey(text string) (Key, error) {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	key, err := minisign.NewPublicKey(strings.TrimSpace(lines[len(lines)-1]))
	if err != nil || key.SignatureAlgorithm != [2]byte{'E', 'd'} {
		return Key{}, errors.New("not a public key of minisign, which is a line of 56 characters that begins with RW")
	}
	return Key{key}, nil
}

// ID returns the number of the key, as minisign shows it.
func (k Key) ID() string { return id(k.key.KeyId) }

func id(number [8]byte) string { return fmt.Sprintf("%016X", binary.LittleEndian.Uint64(number[:])) }

// Verify returns nil if file, a signature file of minisign, is a signature of the artifact
// with that digest by the key.
func (k Key) Verify(digest, file string) error {
	s, err := minisign.DecodeSignature(file)
	if err != nil {
		return errors.New("not a signature of minisign")
	}
	if s.KeyId != k.key.KeyId {
		return fmt.Errorf("signed by the key %s, not by %s", id(s.KeyId), k.ID())
	}
	ok, err := k.key.Verify(artifact.SignedText(digest), s)
	if err != nil || !ok {
		return fmt.Errorf("the signature by the key %s does not belong to %s", k.ID(), digest)
	}
	return nil
}
