package vmtest

import (
	"keelson/testvm/qemu"
	"keelson/testvm/vm"
	"os"
	"strings"
	"testing"
)

func Tiny(t testing.TB, do string) vm.Config {
	k, i, _ := strings.Cut(os.Getenv("TESTVM_TINY"), ":")
	return vm.Config{Config: qemu.Config{Kernel: k, Initrd: i, Memory: 256, CPUs: 1, Append: "console=ttyS0 panic=0 testapp.do=" + do}}
}
