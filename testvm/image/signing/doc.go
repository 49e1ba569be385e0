// Package signing signs bundle artifacts with keys of minisign(1), and verifies them.
//
// An artifact is a folder with an OCI image layout, or a tar of it, which may be compressed
// with zstd or gzip. A signature is added to index.json (artifact.SignatureKey); nothing else
// changes. All blobs are compared with their digests before. Manifests below a further
// index are refused, since their signatures would change its digest.
//
// Sources: the OCI image specification (image-layout.md, descriptor.md);
// https://jedisct1.github.io/minisign/.
package signing
