package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// Command lines of LinuxKit's packages and of docs/disks.md are understood; what cannot be meant is
// refused before anything is done.
func TestParse(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"format", ""},
		{"format -label DATA", ""},
		{"format -label DATA -type btrfs -force -verbose /dev/sda", ""},
		{"format -label DATA -partition none /dev/sda", ""},
		{"format -force", "-force needs a device"},
		{"format /dev/sda /dev/sdb", "2 arguments"},
		{"format -partition bsd", `"bsd"`},
		{"format -type zfs", `"zfs"`},
		{"mountie /var/external", ""},
		{"mountie -label EXTERNAL /var/external", ""},
		{"mountie -device /dev/sda1 /var/external", ""},
		{"mountie -uuid 1234-ABCD /var/external", ""},
		{"mountie /dev/sda1 /var/external", ""},
		{"mountie -label X /dev/sda1 /var/external", "either a device"},
		{"mountie -label X -device /dev/sda1 /var/external", "only one"},
		{"mountie external", "absolute path"},
		{"mountie /", "other than /"},
		{"mountie", "0 arguments"},
		{"extend", ""},
		{"extend -type xfs /dev/sda /dev/sdb", ""},
		{"extend -type zfs", `"zfs"`},
		{"crypto dm_name /dev/sda1", ""},
		{"crypto -l -k other dm_name /dev/sda1", ""},
		{"crypto --luks --key-file /key dm_name /dev/sda1", ""},
		{"crypto dm_name", "1 arguments"},
		{"crypto ../x /dev/sda1", "mapped device"},
		{"crypt -pbkdf scrypt x /dev/sda1", "pbkdf2"},
		{"swap.sh --path /var/swap --size 2G", ""},
		{"swap.sh --file /var/swap --size 100M --condition part:/var/external:true --condition partsize:/var/external:10G --encrypt --debug", ""},
		{"swap --file /var/swap", `size ""`},
		{"swap --file swap --size 1M", "absolute path"},
		{"swap --file /var/swap --size 1M --condition disk:/x", "condition"},
		{"swap --file /var/swap --size 1M -label x", "either -file"},
		{"swap --size 1M", "need -file"},
		{"swap -label swap -format any -partition gpt", ""},
		{"zram", ""},
		{"zram -size 512M -algorithm zstd -priority 5", ""},
		{"zram -size 0%", "1% to 1000%"},
		{"zram -priority 0", "1 to 32767"},
		{"data -label data -format any -format /dev/vda -partition gpt -crypt c -pbkdf pbkdf2 -o noatime /var/data redis:999:999", ""},
		{"data -label data /var/data ../x:0:0", "folder"},
		{"data -label data /var/data x:a:0", "folder"},
		{"data -type swap /var/data", "verb swap"},
		{"data -label seventeen-bytes-x /var/data", "longer than 16"},
	} {
		fields := strings.Fields(c.line)
		_, err := verbs[fields[0]](fields[1:])
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.line, err, c.want)
		}
	}
}

func TestRun(t *testing.T) {
	for _, c := range []struct {
		args  []string
		out   string
		usage bool
	}{
		{nil, "", true},
		{[]string{"fly"}, "", true},
		{[]string{"mount"}, "", true},
		{[]string{"--help"}, usage, false},
		{[]string{"--version"}, "disk ", false},
	} {
		var out bytes.Buffer
		err := run(c.args, &out)
		if errors.As(err, &errUsage{}) != c.usage || !strings.HasPrefix(out.String(), c.out) {
			t.Errorf("%q: %v, %q", c.args, err, out.String())
		}
	}
}

// A volume without its key is not touched.
func TestMissingKey(t *testing.T) {
	err := run([]string{"data", "-label", "x", "-crypt", "c", "-key-file", "/does/not/exist", "/var/x"}, new(bytes.Buffer))
	if err == nil || !strings.Contains(err.Error(), "there is no key in /does/not/exist") {
		t.Error(err)
	}
}
