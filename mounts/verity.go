package mounts

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
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

	// Blocks is the number of blocks of data. Then the hashes are SHA-256, all blocks have
	// 4096 bytes, and the superblock is not read, which RootHash does not cover. If it is
	// 0, the superblock says all that.
	Blocks int64
	Salt   string // in hexadecimal; used with Blocks

	// Source returns the open file that has the image, and where the image begins in it, as long as that
	// is to be used in place of File; then it returns nil. It needs Blocks. It may be nil.
	Source func() (file *os.File, offset int64)
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
// modules, which it loads, those of different drivers at the same time.
func LackingForVerity() error {
	verityLock.Lock()
	defer verityLock.Unlock()
	var errs [3]error
	var checks sync.WaitGroup
	for i, check := range []func() error{lackingMapper, lackingLoop, lackingFilesystem} {
		checks.Go(func() { errs[i] = check() })
	}
	checks.Wait()
	return cmp.Or(errs[:]...)
}

func lackingMapper() error {
	mapper, err := openMapper()
	if err != nil {
		return err
	}
	defer mapper.close()
	return mapper.hasVerity()
}

func lackingLoop() error {
	_, err := freeLoop()
	return err
}

func lackingFilesystem() error {
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
	s, err := v.tree()
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
	if err := v.load(mapper, s); err != nil {
		return 0, errors.Join(err, mapper.remove(v.Device))
	}
	return dev, nil
}

// load gives the device-mapper device a loop device on the image.
func (v Verity) load(mapper mapperControl, s veritySuperblock) error {
	loop, number, err := v.openLoop()
	if err != nil {
		return err
	}
	defer unix.Close(loop) // The device-mapper device has it open.
	return mapper.load(v.Device, s.sectors(), "verity", v.table(number, s))
}

func (v Verity) openLoop() (fd int, dev uint64, err error) {
	if v.Source != nil {
		if file, offset := v.Source(); file != nil {
			return openLoopAt(file, offset)
		}
	}
	return openLoop(v.File)
}

// UseFile makes a file system that is mounted from Source read File from now on; if it is not
// mounted, nothing changes. The kernel replaces the loop device below the device-mapper device
// between two reads (DM_TABLE_LOAD and DM_DEV_SUSPEND of dm-ioctl.h, in one call each): a process that dies
// meanwhile leaves one or the other.
func (v Verity) UseFile() error {
	verityLock.Lock()
	defer verityLock.Unlock()
	v.Source = nil
	s, err := v.tree()
	if err != nil {
		return err
	}
	mapper, err := openMapper()
	if err != nil {
		return err
	}
	defer mapper.close()
	if _, err := mapper.number(v.Device); errors.Is(err, unix.ENXIO) {
		return nil
	}
	return v.load(mapper, s)
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
