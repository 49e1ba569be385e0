// Package ocilayout makes OCI image layouts: FromIndex and FromImage as a file tree in
// memory, Layout as a folder or an archive that is written piece by piece. Artifact makes
// images whose configuration and layers have other media types.
//
// It reads no layouts (go-containerregistry does).
//
// Source: the OCI image specification (image-layout.md, manifest.md). Every blob is compared
// with its digest.
package ocilayout
