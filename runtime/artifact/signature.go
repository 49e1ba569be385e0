package artifact

import "strings"

// SignatureKey is the annotation with the signatures of an artifact: one or more files of
// minisign(1), one after the other. It belongs to the descriptor of the manifest, in
// index.json or in an image index that index.json names. So a signature changes no digest,
// and a registry keeps it when the layout is pushed as an image index.
const SignatureKey = "keelson.signature.minisig"

// Limits of the signatures of one artifact. A file of minisign has about 300 bytes.
const (
	MaxSignatures    = 16
	MaxSignatureSize = 2 << 10 // of one file, in bytes
)

// SignedText returns the text whose signature is that of an artifact with the digest of
// its manifest, such as sha256:HEX. The first words keep signatures of other files by the
// same key apart.
func SignedText(digest string) []byte { return []byte("keelson artifact " + digest + "\n") }

// SplitSignatures returns the files of minisign in the value of SignatureKey, at most
// MaxSignatures. Each has four lines: an untrusted comment, the signature, a trusted
// comment, and the signature of both. Files that are longer than MaxSignatureSize are left
// out. They need not be valid signatures.
func SplitSignatures(value string) (files []string) {
	lines := strings.SplitAfter(value, "\n")
	for len(lines) >= 4 && len(files) < MaxSignatures {
		file := strings.Join(lines[:4], "")
		if len(file) <= MaxSignatureSize {
			files = append(files, file)
		}
		lines = lines[4:]
	}
	return files
}
