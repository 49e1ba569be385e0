package mounts

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Verity is an erofs image that is followed by a dm-verity hash tree with superblock.
type Verity struct {
	File       string // the image
	Target     string // mount point
	Device     string // name of the device-mapper device: VerityPrefix and what is unique
	RootHash   string // in hexadecimal
	HashOffset int64  // of the superblock in the file, in bytes
}

// VerityPrefix begins the names of the device-mapper devices of Verity.
const VerityPrefix = "keelson-"

const erofs = "erofs"

// LackingError is returned when the kernel lacks a feature.
type LackingError struct {
	What string // with the option of the kernel's configuration
	Err  error
}

func (e *LackingError) Error() string { return fmt.Sprintf("the kernel has no %s: %v", e.What, e.Err) }
func (e *LackingError) Unwrap() error { return e.Err }

// verityLock serialises the use of temporary device nodes and the choice of loop devices.
var verityLock sync.Mutex

// Attempts to mount, and the pause between them: the last user of an earlier device of the
// same name may be ending.
const (
	verityTries = 50
	verityPause = 20 * time.Millisecond
)

// Mount mounts the file system read-only: a read-only loop device on the file, a dm-verity
// device on that, and erofs on that. A block that does not match the root hash cannot be
// read (EIO). The kernel loads its modules when they are needed.
//
// The devices exist as long as they are used: the loop device is cleared and the
// device-mapper device removed when the file system is unmounted in all mount namespaces.
// A process that dies meanwhile leaves at most a device without a user, which the next call
// for the same name and SweepVerity remove.
func (v Verity) Mount() error {
	verityLock.Lock()
	defer verityLock.Unlock()
	for try := 1; ; try++ {
		err := v.mount()
		if err == nil || try == verityTries || !errors.Is(err, unix.ENXIO) && !errors.Is(err, unix.EBUSY) || lacking(err) {
			return err
		}
		<-time.After(verityPause)
	}
}

func lacking(err error) bool {
	var l *LackingError
	return errors.As(err, &l)
}

// LackingForVerity returns a LackingError if the kernel cannot mount a Verity, also not with its
// modules, which it loads.
func LackingForVerity() error {
	verityLock.Lock()
	defer verityLock.Unlock()
	mapper, err := openMapper()
	if err != nil {
		return err
	}
	defer mapper.close()
	if err := mapper.hasVerity(); err != nil {
		return err
	}
	if _, err := freeLoop(); err != nil {
		return err
	}
	fd, err := unix.Fsopen(erofs, unix.FSOPEN_CLOEXEC)
	if err == nil {
		return unix.Close(fd)
	}
	return lackingErofs(err)
}

// lackingErofs returns the error of mount(2) as a LackingError if the kernel does not know erofs, or
// nil.
func lackingErofs(err error) error {
	if errors.Is(err, unix.ENODEV) {
		return &LackingError{"file system erofs (CONFIG_EROFS_FS)", err}
	}
	return nil
}

func (v Verity) mount() error {
	mapper, err := openMapper()
	if err != nil {
		return err
	}
	defer mapper.close()
	dev, err := v.device(mapper)
	if err != nil {
		return err
	}
	return withBlockNode(dev, fmt.Sprintf("dm-%d", unix.Minor(dev)), func(path string) error {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			defer unix.Close(fd)
		}
		// The device is removed when it is not open any more.
		if err := errors.Join(err, mapper.remove(v.Device)); err != nil {
			return fmt.Errorf("cannot open device-mapper device %s: %w", v.Device, err)
		}
		err = Mount(path, v.Target, erofs, []string{"ro", "nodev"})
		if lacking := lackingErofs(err); lacking != nil {
			return lacking
		}
		return err
	})
}

// device returns the number of the device-mapper device. One that has a user is used again.
func (v Verity) device(mapper mapperControl) (uint64, error) {
	s, err := v.superblock()
	if err != nil {
		return 0, err
	}
	if err := mapper.hasVerity(); err != nil {
		return 0, err
	}
	if err := mapper.remove(v.Device); err != nil && !errors.Is(err, unix.ENXIO) {
		return 0, err
	}
	dev, err := mapper.create(v.Device)
	if errors.Is(err, unix.EBUSY) {
		return mapper.number(v.Device)
	}
	if err != nil {
		return 0, err
	}
	loop, number, err := openLoop(v.File)
	if err == nil {
		defer unix.Close(loop) // The device-mapper device has it open.
		err = mapper.load(v.Device, s.sectors(), "verity", v.table(number, s))
	}
	if err != nil {
		return 0, errors.Join(err, mapper.remove(v.Device))
	}
	return dev, nil
}

// table returns the parameters of the target (verity.rst, "Construction Parameters").
func (v Verity) table(device uint64, s veritySuperblock) string {
	dev, salt := fmt.Sprintf("%d:%d", unix.Major(device), unix.Minor(device)), "-"
	if len(s.salt) > 0 {
		salt = hex.EncodeToString(s.salt)
	}
	return fmt.Sprintf("1 %s %s %d %d %d %d %s %s %s", dev, dev, s.dataBlock, s.hashBlock, s.blocks,
		(v.HashOffset+superblockSize+s.hashBlock-1)/s.hashBlock, s.algorithm, strings.ToLower(v.RootHash), salt)
}

// superblockSize is the size of the superblock, in bytes. The tree begins with the next
// block of hashes.
const superblockSize = 512

// veritySuperblock is what the superblock says of the hash tree. Sizes are in bytes.
type veritySuperblock struct {
	algorithm            string
	dataBlock, hashBlock int64
	blocks               int64
	salt                 []byte
}

func (s veritySuperblock) sectors() uint64 { return uint64(s.blocks * s.dataBlock / 512) }

func (v Verity) superblock() (s veritySuperblock, err error) {
	f, err := os.Open(v.File)
	if err != nil {
		return s, fmt.Errorf("cannot read a hash tree: %w", err)
	}
	defer f.Close()
	data := make([]byte, superblockSize)
	if _, err = f.ReadAt(data, v.HashOffset); err == nil {
		s, err = parseSuperblock(data, v.HashOffset)
	}
	if err == nil && s.hashSize() != hex.DecodedLen(len(v.RootHash)) {
		err = fmt.Errorf("the root hash %q is not one of %s", v.RootHash, s.algorithm)
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("the file ends before it")
	}
	if err != nil {
		return s, fmt.Errorf("cannot use the hash tree of %s: %w", v.File, err)
	}
	return s, nil
}

// hashSize returns the size of a hash, or 0 for an algorithm that is not supported.
func (s veritySuperblock) hashSize() int {
	return map[string]int{"sha256": 32, "sha512": 64}[s.algorithm]
}

// parseSuperblock reads the superblock of a hash tree at offset, behind the data (the
// documentation of cryptsetup, DMVerity). All integers are in little-endian order:
//
//	 0 "verity\0\0"   8 version (1)     12 type of hash (1)
//	16 UUID          32 algorithm       64 size of data blocks
//	68 size of hash blocks              72 number of data blocks
//	80 size of salt  88 salt (256)
func parseSuperblock(data []byte, offset int64) (s veritySuperblock, err error) {
	if len(data) < superblockSize || string(data[:8]) != "verity\x00\x00" {
		return s, errors.New("it has no superblock")
	}
	le := binary.LittleEndian
	if version, kind := le.Uint32(data[8:]), le.Uint32(data[12:]); version != 1 || kind != 1 {
		return s, fmt.Errorf("version %d with hashes of type %d is not supported", version, kind)
	}
	s.algorithm, _, _ = strings.Cut(string(data[32:64]), "\x00")
	s.dataBlock, s.hashBlock = int64(le.Uint32(data[64:])), int64(le.Uint32(data[68:]))
	blocks, salt := le.Uint64(data[72:]), int(le.Uint16(data[80:]))
	switch {
	case s.hashSize() == 0:
		return s, fmt.Errorf("algorithm %q is not supported", s.algorithm)
	case !blockSize(s.dataBlock) || !blockSize(s.hashBlock):
		return s, fmt.Errorf("blocks of %d and %d bytes are not supported", s.dataBlock, s.hashBlock)
	case blocks == 0 || offset <= 0 || blocks > uint64(offset/s.dataBlock):
		return s, fmt.Errorf("%d blocks of data do not fit before it", blocks)
	case salt > 256:
		return s, fmt.Errorf("its salt has %d bytes", salt)
	}
	s.blocks, s.salt = int64(blocks), data[88:88+salt]
	return s, nil
}

// blockSize reports whether every kernel can use blocks of n bytes.
func blockSize(n int64) bool { return n >= 512 && n <= 4096 && n&(n-1) == 0 }

// SweepVerity removes the devices of Verity that nobody uses. Those in use are removed when
// they are not used any more.
func SweepVerity() error {
	if sysfsText(mapperNumber) == "" {
		return nil
	}
	verityLock.Lock()
	defer verityLock.Unlock()
	mapper, err := openMapper()
	if err != nil {
		return err
	}
	defer mapper.close()
	var errs []error
	for _, d := range blockDevices(sysBlock) {
		if d.kind != mapperDevice {
			continue
		}
		name := sysfsText(sysBlock + "/" + d.name + "/dm/name")
		if !strings.HasPrefix(name, VerityPrefix) {
			continue
		}
		if err := mapper.remove(name); err != nil && !errors.Is(err, unix.ENXIO) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
