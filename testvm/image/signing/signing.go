package signing

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/jedisct1/go-minisign"

	"keelson/runtime/artifact"
	"keelson/runtime/artifact/signature"
)

// Key is a secret key of minisign.
type Key struct{ secret minisign.PrivateKey }

// LoadKey reads the file of a secret key. ask returns the password of an encrypted one.
func LoadKey(path string, ask func() (string, error)) (*Key, error) {
	secret, err := minisign.NewPrivateKeyFromFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the secret key %s: %w", path, err)
	}
	if secret.IsEncrypted() {
		password, err := ask()
		if err != nil {
			return nil, fmt.Errorf("cannot read the password of %s: %w", path, err)
		}
		if err := secret.Decrypt(password); err != nil {
			return nil, fmt.Errorf("cannot decrypt the secret key %s: %w", path, err)
		}
	}
	return &Key{secret}, nil
}

// Sign adds a signature by the key to each manifest of the artifact at path, in place of an
// earlier one by the same key. The artifact is replaced as a whole, or left alone.
func Sign(path string, key *Key) ([]Manifest, error) {
	l, err := open(path)
	if err != nil {
		return nil, err
	}
	all, err := l.manifests()
	if err != nil {
		return nil, err
	}
	values := map[int]string{}
	for _, m := range all {
		if values[m.position], err = key.sign(m); err != nil {
			return nil, fmt.Errorf("cannot sign %s of %s: %w", m.Digest, path, err)
		}
	}
	index, err := annotate(l.index, values)
	if err != nil {
		return nil, fmt.Errorf("cannot change %s of %s: %w", indexFile, path, err)
	}
	if err := l.replace(index); err != nil {
		return nil, fmt.Errorf("cannot write the artifact %s: %w", path, err)
	}
	return all, nil
}

// sign returns all signatures of a manifest, with the key's own at the end. It depends on
// nothing but the manifest and the key.
func (k *Key) sign(m Manifest) (string, error) {
	line := func(s string) string {
		return strings.Map(func(r rune) rune {
			if unicode.IsControl(r) {
				return -1
			}
			return r
		}, s)
	}
	comment := line(strings.Join([]string{m.Name, m.Architecture, m.Digest}, " "))
	if len(comment) > artifact.MaxSignatureSize/2 {
		return "", errors.New("the name is too long")
	}
	s, err := k.secret.Sign(artifact.SignedText(m.Digest), minisign.SignOptions{TrustedComment: comment, Hashed: true})
	if err != nil {
		return "", err
	}
	kept := slices.DeleteFunc(slices.Clone(m.signatures), func(file string) bool {
		old, err := minisign.DecodeSignature(file)
		return err != nil || old.KeyId == s.KeyId
	})
	if len(kept) >= artifact.MaxSignatures {
		return "", fmt.Errorf("it has %d signatures, which is the most", len(kept))
	}
	var all strings.Builder
	for _, file := range append(kept, string(s.Encode())) {
		all.WriteString(strings.TrimSuffix(file, "\n") + "\n")
	}
	return all.String(), nil
}

// annotate sets the signatures of the descriptors in index.json. Fields that this program
// does not know stay.
func annotate(text []byte, values map[int]string) ([]byte, error) {
	var index map[string]json.RawMessage
	var descriptors []map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(text, &index), json.Unmarshal(index["manifests"], &descriptors)); err != nil {
		return nil, err
	}
	for i, value := range values {
		annotations := map[string]string{}
		if old, ok := descriptors[i]["annotations"]; ok {
			if err := json.Unmarshal(old, &annotations); err != nil {
				return nil, err
			}
		}
		if annotations == nil { // null
			annotations = map[string]string{}
		}
		annotations[artifact.SignatureKey] = value
		changed, err := json.Marshal(annotations)
		if err != nil {
			return nil, err
		}
		descriptors[i]["annotations"] = changed
	}
	changed, err := json.Marshal(descriptors)
	if err != nil {
		return nil, err
	}
	index["manifests"] = changed
	return json.Marshal(index)
}

// Verify returns the manifests of the artifact at path. The error names those without a
// signature by one of the keys.
func Verify(path string, keys []signature.Key) ([]Manifest, error) {
	l, err := open(path)
	if err != nil {
		return nil, err
	}
	all, err := l.manifests()
	if err != nil {
		return nil, err
	}
	var bad []error
	for _, m := range all {
		if err := m.verify(keys); err != nil {
			bad = append(bad, fmt.Errorf("%s: %s: %w", path, m.Digest, err))
		}
	}
	return all, errors.Join(bad...)
}

func (m Manifest) verify(keys []signature.Key) error {
	err := errors.New("it has no signature")
	for _, file := range m.signatures {
		for _, k := range keys {
			if err = k.Verify(m.Digest, file); err == nil {
				return nil
			}
		}
	}
	return err
}
