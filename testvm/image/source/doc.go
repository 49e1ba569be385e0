// Package source fetches the images that a YAML file names, and returns their files and
// configuration: OCI layouts, Docker archives, directories, Debian packages, and images
// in registries.
//
// It does not lay out the files: see package image.
//
// Sources: the OCI image specification (image-layout.md, image-index.md) and the
// distribution specification, implemented by go-containerregistry. Content is compared
// with its digest on every use. An error names what was searched, and where.
package source
