package boots

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"keelson/runtime/bootid"
	"keelson/runtime/readfile"
)

// Dir is the folder of the boots of a machine.
const Dir = "/var/lib/keelson/boots"

// Names in the folder of a boot.
const (
	beginFile    = "begin"
	askedFile    = "asked"
	endFile      = "end"
	kernelFile   = "kernel"
	pstorePrefix = "pstore-"
	logFolder    = "log"
)

// recordLimit is the largest size of a JSON file.
const recordLimit = 1 << 20

// ID is a boot ID of the kernel; zeros: not known.
type ID [bootid.Size]byte

// String returns the ID in hexadecimal digits, without dashes.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText and UnmarshalText use the form of String.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the form of String.
func (id *ID) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(id)) {
		return fmt.Errorf("bad boot ID %.64q", text)
	}
	if _, err := hex.Decode(id[:], text); err != nil {
		return fmt.Errorf("bad boot ID %.64q: %w", text, err)
	}
	return nil
}

// This returns the ID of the boot that runs.
func This() (ID, error) {
	id, err := bootid.Read()
	return ID(id), err
}

// Mark says where the lines of a boot begin in a file: Offset was its size then.
type Mark struct {
	Inode  uint64 `json:"inode"`
	Born   int64  `json:"born"` // time of birth, ns since 1970; 0: not known
	Offset int64  `json:"offset"`
}

// Begin is how a boot began.
type Begin struct {
	Time    time.Time     `json:"time"`    // by the clock as it was set then
	Epoch   time.Duration `json:"epoch"`   // wall clock minus time since the boot, since 1970
	Kernel  string        `json:"kernel"`  // release of the kernel
	Version string        `json:"version"` // of keelson
	Bounds  Bounds        `json:"bounds"`  // of what is kept
	Marks   []Mark        `json:"marks"`   // of the logs that were there
}

// How a boot ended.
const (
	PowerOff = "poweroff" // by keelson, as ordered
	Reboot   = "reboot"
	Halt     = "halt"
	Down     = "shutdown" // by keelson; which of these is not known
	Panic    = "panic"    // of the kernel
	Lost     = "lost"     // without a word: power cut, reset, forced reboot
)

// End is how a boot ended.
type End struct {
	How      string    `json:"how"`
	By       string    `json:"by,omitempty"`       // who has ordered it
	Time     time.Time `json:"time,omitzero"`      // when, if keelson ended it
	Text     string    `json:"text,omitempty"`     // the message of the panic
	Watchdog []string  `json:"watchdog,omitempty"` // what the watchdogs say of the reset
}

// Boot is a boot that is kept.
type Boot struct {
	Number int    // 1 for the first one
	ID     ID     // zeros if it was not recorded
	Dir    string // its folder
	Begin  *Begin // nil: not known
	Asked  *End   // its end was ordered; nil: it was not
	End    *End   // nil: it runs, or nothing is known yet
}

// name returns the name of the folder of a boot.
func name(number int, id ID) string { return fmt.Sprintf("%06d-%s", number, id) }

// parseName reads the name of the folder of a boot.
func parseName(text string) (number int, id ID, ok bool) {
	digits, rest, ok := strings.Cut(text, "-")
	n, err := strconv.ParseUint(digits, 10, 31)
	if !ok || err != nil || n == 0 || id.UnmarshalText([]byte(rest)) != nil || name(int(n), id) != text {
		return 0, ID{}, false
	}
	return int(n), id, true
}

// List returns the boots in a folder, the oldest first. Without the folder there are none.
func List(dir string) ([]Boot, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list boots: %w", err)
	}
	var all []Boot
	for _, e := range entries {
		if number, id, ok := parseName(e.Name()); ok && e.IsDir() {
			all = append(all, load(Boot{Number: number, ID: id, Dir: filepath.Join(dir, e.Name())}))
		}
	}
	slices.SortFunc(all, func(a, b Boot) int { return cmp.Compare(a.Number, b.Number) })
	return all, nil
}

// load reads the files of a boot. One that cannot be read is like one that is missing.
func load(b Boot) Boot {
	b.Begin = decode[Begin](filepath.Join(b.Dir, beginFile))
	b.Asked = decode[End](filepath.Join(b.Dir, askedFile))
	b.End = decode[End](filepath.Join(b.Dir, endFile))
	return b
}

func decode[T any](path string) *T {
	v := new(T)
	if known, err := readfile.JSON(path, recordLimit, v); err != nil || !known {
		return nil
	}
	return v
}

// LogDir is the folder with the logs of one-shot containers.
func (b Boot) LogDir() string { return filepath.Join(b.Dir, logFolder) }

// String says how the boot ended.
func (b Boot) String() string {
	if b.End == nil {
		return "not known"
	}
	return b.End.String()
}

// words are how a boot ended, for people.
var words = map[string]string{
	PowerOff: "power-off", Reboot: "reboot", Halt: "halt", Down: "shutdown",
	Panic: "kernel panic", Lost: "no clean end: power cut, reset, or forced reboot",
}

// String says how a boot ended: "reboot, ordered by NAME".
func (e End) String() string {
	text := cmp.Or(words[e.How], "not known")
	if e.Text != "" {
		text += ": " + e.Text
	}
	if e.By != "" {
		text += ", ordered by " + e.By
	}
	if len(e.Watchdog) > 0 {
		text += "; watchdog " + strings.Join(e.Watchdog, ", ")
	}
	return text
}

// Find returns a boot by its place: 0 is the one that runs, -1 the one before it, and so on. ok is
// false if it is not kept. this is the ID of the one that runs.
func Find(all []Boot, this ID, place int) (b Boot, ok bool) {
	before := all
	if i := slices.IndexFunc(all, func(b Boot) bool { return b.ID == this }); i >= 0 {
		if place == 0 {
			return all[i], true
		}
		before = all[:i]
	}
	if place >= 0 || -place > len(before) {
		return Boot{}, false
	}
	return before[len(before)+place], true
}
