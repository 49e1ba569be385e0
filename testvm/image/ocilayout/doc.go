// Package ocilayout makes the files of an OCI image layout that contains one index or
// image.
//
// It reads no layouts (go-containerregistry does), and images must fit in memory.
//
// Source: the OCI image specification (image-layout.md). Every blob is compared with its
// digest.
package ocilayout
