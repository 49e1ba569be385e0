// Package ocilayout makes the files of an OCI image layout, with one index or
// image in it.
//
// It is not for reading layouts, which go-containerregistry does, nor for
// images that do not fit in memory.
//
// Source: the OCI image specification (image-layout.md). Every blob is checked
// against the digest it is known by.
package ocilayout
