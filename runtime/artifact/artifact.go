// Package artifact defines the bundle artifact: the OCI bundle of one service as an OCI
// image layout, which the host's tool writes and a running machine reads to replace the
// service.
//
// The layout (a folder, or a tar of it, which may be compressed with zstd or gzip) has one
// manifest for each architecture:
//
//	artifactType  application/vnd.keelson.bundle.v1
//	config        config.json of the bundle
//	layers        runtime.json, then the root: layers, one erofs image, or layers and last an
//	              erofs image of the same files
//	annotations   org.opencontainers.image.title: the name of the service
//	              org.opencontainers.image.created: the time of its files, RFC 3339
//	              keelson.architecture: in Go's spelling
//	              keelson.root.writable: "true" if the service may write to its root
//
// The manifests are listed in index.json with their platform; keelson.architecture says the
// same where the index is lost, as when one manifest is copied to a registry. In the tar,
// oci-layout, index.json, manifests, configurations and layers follow each other in this
// order.
//
// root.path in config.json is rootfs, and runtime.json has only the mounts that the service
// asks for: it names no path of the bundle, because its folder on a machine is not known
// when it is written. The machine mounts the root on rootfs: read-only, or as the lower
// layer of an overlay whose upper layer is in memory if the root is writable, as the
// services of an image are. A layer whose top folder is not owned by root lists it as "./".
//
// Digest and version of a bundle are the digest of its manifest.
//
// An artifact of ProgramsType holds keelson's own programs. Its configuration is the list of
// its files; of the annotations, it has keelson.architecture and
// org.opencontainers.image.created.
//
// Source: the OCI image specification 1.1 (manifest.md, "Guidelines for Artifact Usage";
// image-layout.md).
package artifact

// Media types.
const (
	Type        = "application/vnd.keelson.bundle.v1"              // of the artifact
	ConfigType  = "application/vnd.keelson.bundle.config.v1+json"  // config.json
	RuntimeType = "application/vnd.keelson.bundle.runtime.v1+json" // runtime.json
	ErofsType   = "application/vnd.keelson.bundle.root.v1.erofs"   // the root as one file system
)

// Media types of an artifact with keelson's own programs (package programs). Its only layer
// is a layer of an image.
const (
	ProgramsType       = "application/vnd.keelson.programs.v1"
	ProgramsConfigType = "application/vnd.keelson.programs.config.v1+json" // a programs.List
)

// Annotations of the manifest.
const (
	TitleKey     = "org.opencontainers.image.title"
	CreatedKey   = "org.opencontainers.image.created"
	Architecture = "keelson.architecture"
	RootWritable = "keelson.root.writable" // "true", or absent for a read-only root
)

// Annotations of the descriptor of an erofs image that is followed by a dm-verity hash tree
// with superblock (the kernel's Documentation/admin-guide/device-mapper/verity.rst).
//
// With VerityBlocks, the hashes are SHA-256 with the salt first (version 1), and blocks of data
// and of hashes have VerityBlock bytes. Then the manifest says all that dm-verity needs, and
// nobody reads the superblock: the digest of the manifest covers what can be read of the
// image, and the digest of the image need not be compared before it is mounted. Artifacts of
// earlier versions of keelson have only the first two.
const (
	VerityRootHash = "keelson.verity.root-hash" // in hexadecimal
	VerityOffset   = "keelson.verity.offset"    // of the superblock, in bytes
	VerityBlocks   = "keelson.verity.blocks"    // number of blocks of data
	VeritySalt     = "keelson.verity.salt"      // in hexadecimal; absent for none
)

// VerityBlock is the size of a block of an image with VerityBlocks, in bytes.
const VerityBlock = 4096

// VerityMaxSalt is the largest salt of dm-verity, in bytes.
const VerityMaxSalt = 256

// MaxDocument is the largest size, in bytes, of a JSON document of an artifact. Registries
// have the same limit for manifests.
const MaxDocument = 4 << 20

// File is the name of the file in an unpacked bundle that holds its Meta as JSON.
const File = "artifact.json"

// Names of the root in an unpacked bundle, below its folder.
const (
	RootDir   = "rootfs"     // unpacked layers
	RootErofs = "root.erofs" // image of a file system
)

// ImageFile is the name of the configuration of a plain container image (config.md of the
// OCI image specification), which has no config.json until it is merged with the settings of
// a service.
const ImageFile = "image.json"

// Annotations of a descriptor that name a container image: that of containerd and `docker
// save`, and that of the OCI image specification (annotations.md), which may be only a tag.
const (
	NameKey      = "io.containerd.image.name"
	ReferenceKey = "org.opencontainers.image.ref.name"
)

// Place is a part of a file, in bytes.
type Place struct {
	Offset int64 `json:"offset"`
	Size   int64 `json:"size"`
}

// Meta describes an unpacked artifact.
type Meta struct {
	Digest       string `json:"digest"`                 // of the manifest: sha256:HEX
	Name         string `json:"name,omitempty"`         // of the service; empty for a container image
	Architecture string `json:"architecture"`           // in Go's spelling
	Image        bool   `json:"image,omitempty"`        // a plain container image
	Reference    string `json:"reference,omitempty"`    // name of a container image in its layout, such as example/web:v1
	Programs     bool   `json:"programs,omitempty"`     // keelson's own programs
	Created      string `json:"created,omitempty"`      // RFC 3339
	Size         int64  `json:"size"`                   // of the unpacked files, in bytes
	Writable     bool   `json:"writable,omitempty"`     // the root: RootWritable; of a container image, as its service has it
	RootHash     string `json:"rootHash,omitempty"`     // of dm-verity, in hexadecimal
	VerityOffset int64  `json:"verityOffset,omitempty"` // of the hash tree in the erofs image, in bytes
	VerityBlocks int64  `json:"verityBlocks,omitempty"` // of data; 0: the superblock has the number, sizes and salt
	VeritySalt   string `json:"veritySalt,omitempty"`   // in hexadecimal
	RootDigest   string `json:"rootDigest,omitempty"`   // of the erofs image, which the manifest names: sha256:HEX
	Unpacked     bool   `json:"unpacked,omitempty"`     // the root is that of the layers; the artifact has it as an erofs image too

	// InPlace is where the erofs image is in the file that was read, if it was not copied: RootErofs
	// is empty. It is not stored.
	InPlace *Place `json:"inPlace,omitempty"`

	// Signatures are the minisign signatures that came with the artifact, one file each.
	// Nobody has checked them.
	Signatures []string `json:"signatures,omitempty"`
}
