// Package source fetches what a YAML file names as an image and gives its
// files and configuration, whatever it is: an OCI layout, a Docker archive, a
// directory, Debian packages, or an image in a registry.
//
// It is not for choosing what of an image goes where: see package image.
//
// Sources: the OCI image specification (image-layout.md, image-index.md) and
// distribution specification, by way of go-containerregistry. Contents are
// checked against their digests on every use. An error says what was looked
// for and where.
package source
