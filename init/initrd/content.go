package initrd

import (
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"keelson/runtime/blkid"
)

// contents are what is known of the content of disks, which is read in goroutines: a disk that
// does not answer must not keep others from being found.
type contents struct {
	read func(node string, size int64) (blkid.Content, error)
	more chan struct{} // gets a value when a disk has been read

	mu    sync.Mutex
	known map[string]*blkid.Content // by identity; nil while the disk is being read
}

func newContents() *contents {
	return &contents{read: readContent, more: make(chan struct{}, 1), known: map[string]*blkid.Content{}}
}

// needed reports whether root= names a content.
func (w Params) needed() bool {
	return strings.HasPrefix(w.Device, byUUID) || strings.HasPrefix(w.Device, byLabel)
}

// fill adds to disks what is known of their content, and has the others read.
func (c *contents) fill(disks []Disk) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range disks {
		// A disk without a medium has no size yet.
		id := strings.Join([]string{d["DEVNAME"], d["MAJOR"], d["MINOR"], d["DISKSEQ"], d[sizeKey]}, " ")
		size, err := strconv.ParseInt(d[sizeKey], 10, 64)
		if d["DEVNAME"] == "" || err != nil || size <= 0 || size > 1<<54 {
			continue
		}
		found, asked := c.known[id]
		if found != nil {
			d[uuidKey], d[labelKey] = found.UUID, found.Label
		}
		if !asked {
			c.known[id] = nil
			go c.ask(id, d.path(), size*512)
		}
	}
}

func (c *contents) ask(id, node string, size int64) {
	content, err := c.read(node, size)
	if err != nil || content.Member() {
		content = blkid.Content{}
	}
	c.mu.Lock()
	c.known[id] = &content
	c.mu.Unlock()
	select {
	case c.more <- struct{}{}:
	default:
	}
}

func readContent(node string, size int64) (blkid.Content, error) {
	f, err := os.OpenFile(node, os.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return blkid.Content{}, err
	}
	defer f.Close()
	return blkid.Probe(f, size)
}
