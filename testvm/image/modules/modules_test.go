package modules

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"keelson/runtime/depmod"
)

var tables = Tables{
	Dep: "kernel/fs/ext4/ext4.ko: kernel/fs/jbd2/jbd2.ko kernel/lib/crc16.ko\n" +
		"kernel/fs/jbd2/jbd2.ko:\nkernel/lib/crc16.ko:\nkernel/crypto/crc32c_generic.ko:\n" +
		"kernel/arch/x86/crypto/crc32c-intel.ko.xz:\nkernel/drivers/virtio-net.ko: kernel/net/failover.ko\n" +
		"kernel/net/failover.ko: kernel/drivers/virtio-net.ko\n",
	Softdep: "# soft\nsoftdep ext4 pre: crc32c\nsoftdep\n",
	Alias:   "alias crc32c crc32c_generic\nalias crc32c crc32c_intel\nalias pci:v*d* virtio_net\n",
	Builtin: "kernel/drivers/virtio/virtio-pci.ko\n",
}

func TestClosure(t *testing.T) {
	tests := []struct {
		name   string
		asked  []string
		strict bool
		want   []string
	}{
		{"needs hard and soft", []string{"ext4"}, true, []string{
			"kernel/arch/x86/crypto/crc32c-intel.ko.xz", "kernel/crypto/crc32c_generic.ko",
			"kernel/fs/ext4/ext4.ko", "kernel/fs/jbd2/jbd2.ko", "kernel/lib/crc16.ko"}},
		{"a circle, dashes", []string{"virtio-net"}, true, []string{"kernel/drivers/virtio-net.ko", "kernel/net/failover.ko"}},
		{"built in", []string{"virtio_pci"}, true, []string{}},
		{"missing of a default", []string{"nothing", "crc16"}, false, []string{"kernel/lib/crc16.ko"}},
		{"none", nil, true, []string{}},
		{"more than the default", []string{Defaults, "crc16"}, true, []string{
			"kernel/arch/x86/crypto/crc32c-intel.ko.xz", "kernel/crypto/crc32c_generic.ko", "kernel/drivers/virtio-net.ko",
			"kernel/fs/ext4/ext4.ko", "kernel/fs/jbd2/jbd2.ko", "kernel/lib/crc16.ko", "kernel/net/failover.ko"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Closure(tables, tt.asked, tt.strict)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
	if got, _ := Closure(tables, []string{"all"}, true); len(got) != 7 {
		t.Errorf("all: got %v", got)
	}
	var missing *MissingError
	if _, err := Closure(tables, []string{"ext4", "nothing"}, true); !errors.As(err, &missing) || missing.Name != "nothing" {
		t.Errorf("got %v", err)
	}
}

func FuzzClosure(f *testing.F) {
	f.Add(tables.Dep, tables.Softdep, tables.Alias, tables.Builtin, "ext4")
	f.Fuzz(func(t *testing.T, dep, soft, alias, builtin, asked string) {
		tables := Tables{dep, soft, alias, builtin}
		files, err := Closure(tables, []string{asked}, true)
		if err != nil || asked == "all" {
			return
		}
		s, err := parse(tables)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.IsSorted(files) || len(slices.Compact(slices.Clone(files))) != len(files) {
			t.Errorf("%q are not sorted or not unique", files)
		}
		if own := s.modules[depmod.Name(asked)].Path; own != "" && asked != Defaults && !slices.Contains(files, own) {
			t.Errorf("%q does not have %q itself", files, own)
		}
		for _, file := range files {
			for _, dep := range s.modules[depmod.Name(file)].Deps {
				if !slices.Contains(files, dep) {
					t.Errorf("%q does not have %q, which %q needs", files, dep, file)
				}
			}
		}
	})
}
