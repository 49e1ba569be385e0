// Package initimage makes the image for the init section of a LinuxKit YAML file, that of the
// gate for its services section, and that of disk for its onboot section, from the guest's trees and packages of Debian: one OCI image per architecture, under one index, in a tarball of an
// OCI layout. The same trees give the same bytes: files are sorted, belong to root and
// are dated 1970.
//
// The image for init is not for containers: it has no entrypoint and no org.mobyproject.config
// label, which the linuxkit CLI ignores for images in the init section.
//
// Sources: the OCI image specification (image-layout.md, image-index.md,
// annotations.md). `linuxkit cache import` copies blobs/sha256/*, and adds each
// descriptor of index.json to its cache under the name in the annotation
// io.containerd.image.name. It looks it up by the annotation
// org.opencontainers.image.ref.name, and the image in the index below by operating system
// and architecture.
package initimage
