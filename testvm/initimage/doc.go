// Package initimage makes of the guest's trees the image that stands in the
// init section of a LinuxKit YAML file: one OCI image per architecture, all
// under one index, in a tarball of an OCI layout. The same trees give the same
// bytes: files are sorted, belong to root and are of 1970.
//
// It is not for images of containers: the image has no entrypoint and no
// org.mobyproject.config label, of which the linuxkit CLI takes no notice for
// images in the init section.
//
// Sources: the OCI image specification (image-layout.md, image-index.md,
// annotations.md). `linuxkit cache import` copies blobs/sha256/*, and enters
// each descriptor of index.json in its cache under the name that stands in the
// annotation io.containerd.image.name; it finds it again by the annotation
// org.opencontainers.image.ref.name, and in the index below it the image by
// operating system and architecture.
package initimage
