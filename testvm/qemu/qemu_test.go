package qemu

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestArgs(t *testing.T) {
	base := Config{Arch: AMD64, Machine: "q35", Accel: TCG, Kernel: "k", Initrd: "i", Append: "quiet", Memory: 512, CPUs: 2}
	cases := []struct {
		name    string
		change  func(*Config)
		has     []string // neighbours on the command line
		without string
	}{
		{"amd64", func(*Config) {}, []string{"-M q35 -accel tcg -cpu max", "-m 512M -smp 2 -kernel k -initrd i -append quiet no_timer_check",
			"-chardev socket,id=console,fd=3 -serial chardev:console", "-no-reboot",
			"-device virtserialport,chardev=agent,name=org.keelson.agent.0"}, "-icount"},
		{"kvm", func(c *Config) { c.Accel = KVM }, []string{"-accel kvm -cpu host", "-append quiet -chardev"}, "max"},
		{"arm64", func(c *Config) { c.Arch, c.Machine = ARM64, "virt" }, []string{"-M virt,gic-version=3 -accel tcg -cpu cortex-a72"}, "q35"},
		{"arm64 kvm", func(c *Config) { c.Arch, c.Machine, c.Accel = ARM64, "virt", KVM }, []string{"-M virt,gic-version=host -accel kvm -cpu host"}, "cortex"},
		{"virtual time", func(c *Config) { c.VirtualTime, c.Seed = true, 7 },
			[]string{"-cpu qemu64,+rdrand -icount shift=0,sleep=off -seed 7", "-append quiet -chardev", "-chardev file,id=console,path=/dev/fd/3"}, "virtio"},
		{"no initrd", func(c *Config) { c.Initrd = "" }, []string{"-kernel k -append"}, "-initrd"},
		{"ports", func(c *Config) { c.Publish = []Forward{{"tcp", 80, 8080}, {"udp", 53, 53}} },
			[]string{"-netdev user,id=net0,hostfwd=tcp:127.0.0.1:80-:8080,hostfwd=udp:127.0.0.1:53-:53"}, "0.0.0.0"},
		{"serial port", func(c *Config) { c.Ports = []Port{{"org.example.0", "/a,b"}} },
			[]string{"-chardev socket,id=port0,path=/a,,b,server=on,wait=off -device virtserialport,chardev=port0,name=org.example.0"}, "port1"},
		{"store of errors", func(c *Config) { c.ErrorStore = "/a,b" },
			[]string{"-object memory-backend-file,id=erst,size=64K,share=on,mem-path=/a,,b -device acpi-erst,memdev=erst"}, "pflash"},
		{"watchdog", func(c *Config) { c.Watchdog = true }, []string{"-device i6300esb -action watchdog=reset,reboot=reset"}, "acpi-erst"},
		{"disks", func(c *Config) {
			c.Disks = []Disk{{Path: "a,b"}, {Path: "c", Format: "qcow2", Bus: "nvme", ReadOnly: true}}
		}, []string{"-drive if=none,id=disk0,format=raw,file=a,,b -device virtio-blk-pci,drive=disk0",
			"-drive if=none,id=disk1,format=qcow2,file=c,readonly=on -device nvme,drive=disk1,serial=disk1"}, "bootindex"},
		{"microvm", func(c *Config) { c.Machine, c.Disks = "microvm", []Disk{{Path: "d"}} },
			[]string{"-M microvm,rtc=on,pit=on,pic=on", "-append quiet reboot=t tsc_early_khz=1000000", "-device virtio-blk-device,drive=disk0", "-device virtio-net-device,netdev=net0"}, "-pci"},
		{"UEFI", func(c *Config) { c.Firmware, c.Disks = UEFI, []Disk{{Path: "d", Bus: "usb"}, {Path: "e", Bus: "usb"}} },
			[]string{"if=pflash,unit=0,format=raw,readonly=on,file=/usr/share/OVMF", "snapshot=on",
				"-device qemu-xhci -drive if=none,id=disk0,format=raw,file=d -device usb-storage,drive=disk0,bootindex=0 " +
					"-drive if=none,id=disk1,format=raw,file=e -device usb-storage,drive=disk1,bootindex=1"}, "-kernel"},
		{"BIOS", func(c *Config) { c.Firmware, c.Machine, c.Disks = BIOS, "pc", []Disk{{Path: "d", Bus: "cdrom"}} },
			[]string{"-M pc ", "file=d,media=cdrom,readonly=on -device ide-cd,drive=disk0,bootindex=0"}, "pflash"},
		{"SD card", func(c *Config) {
			c.Arch, c.Machine, c.Firmware, c.Disks = ARM64, "virt", UEFI, []Disk{{Path: "d", Bus: "sd"}}
		}, []string{"-device sdhci-pci", "-device sd-card,drive=disk0"}, "bootindex"},
		{"s390x", func(c *Config) { c.Arch, c.Machine, c.Disks = S390X, "s390-ccw-virtio", []Disk{{Path: "d"}} },
			[]string{"-M s390-ccw-virtio -accel tcg -cpu max", "-device virtio-serial-ccw", "-device virtio-blk-ccw,drive=disk0", "-device virtio-net-ccw,netdev=net0"}, "romfile"},
		{"riscv64", func(c *Config) { c.Arch, c.Machine = RISCV, "riscv-virt" }, []string{"-M virt -accel tcg -cpu rv64", "-device virtio-keyboard-pci"}, "gic"},
		{"board", func(c *Config) {
			c.Arch, c.Machine, c.DTB, c.Disks = ARM64, "raspi3b", "t", []Disk{{Path: "d", Bus: "sd"}}
		}, []string{"-M raspi3b -accel tcg,thread=single -cpu cortex-a53", "-dtb t -append quiet -serial null -chardev socket,id=console,fd=3 -serial chardev:console",
			"-drive if=sd,id=disk0,format=raw,file=d"}, "-device"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			config := base
			c.change(&config)
			line := strings.Join(Args(config), " ")
			for _, want := range c.has {
				if !strings.Contains(line, want) {
					t.Errorf("lacks %q: %s", want, line)
				}
			}
			if strings.Contains(line, c.without) {
				t.Errorf("has %q: %s", c.without, line)
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	kernel := filepath.Join(t.TempDir(), "kernel")
	image := make([]byte, 0x300)
	copy(image[0x202:], "HdrS")
	if err := os.WriteFile(kernel, image, 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := Config{Kernel: kernel, VirtualTime: true, CPUs: 4, Accel: KVM}.withDefaults()
	if err != nil || c.Arch != AMD64 || c.CPUs != 1 || c.Accel != TCG || c.Memory == 0 {
		t.Errorf("got %+v, %v", c, err)
	}
	pi, err := Config{Kernel: kernel, Arch: ARM64, Machine: "raspi3b"}.withDefaults()
	if err != nil || pi.Memory != 1024 || pi.CPUs != 4 || pi.Accel != TCG {
		t.Errorf("got %+v, %v", pi, err)
	}
	disk := []Disk{{Path: kernel}}
	for _, bad := range []Config{{}, {Kernel: "/no/such"}, {Kernel: kernel, Arch: "mips"}, {Kernel: kernel, Initrd: "/no/such"},
		{Kernel: kernel, Machine: "virt"}, {Kernel: kernel, Machine: "toaster"}, {Arch: AMD64, Firmware: BIOS},
		{Arch: ARM64, Firmware: BIOS, Disks: disk}, {Arch: AMD64, Machine: "microvm", Firmware: UEFI, Disks: disk},
		{Kernel: kernel, Machine: "microvm", Disks: []Disk{{Path: kernel, Bus: "sd"}}}, {Kernel: kernel, Arch: ARM64, Machine: "raspi3b", Disks: disk},
		{Kernel: kernel, Arch: ARM64, Machine: "raspi3b", Accel: KVM}, {Kernel: kernel, Machine: "microvm", Watchdog: true}, {Kernel: kernel, DTB: "/no/such"}, {Kernel: kernel, Disks: []Disk{{Path: kernel, Bus: "isa"}}}} {
		if _, err := bad.withDefaults(); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

func TestArchOf(t *testing.T) {
	at := func(offset int, magic string) []byte {
		b := make([]byte, headSize)
		copy(b[offset:], magic)
		return b
	}
	for want, heads := range map[string][][]byte{
		AMD64: {at(0x202, "HdrS")},
		ARM64: {at(0x38, "ARM\x64"), at(0, "\x1f\x8b"), at(4, "zimg")},
		S390X: {at(0x10008, "S390EP")},
		RISCV: {at(0x38, "RSC\x05")},
		"":    {nil, at(0, "\x7fELF"), []byte("HdrS")},
	} {
		for _, head := range heads {
			if got := archOf(head); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	}
}

func TestDiskIsMade(t *testing.T) {
	d := Disk{Path: filepath.Join(t.TempDir(), "disk"), Size: 1 << 30}
	for range 2 { // the second time it is there and stays
		if err := d.create(); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(d.Path); err != nil || info.Size() != 1<<30 {
		t.Errorf("%v, %v", info, err)
	}
	if err := (Disk{Path: d.Path + "2"}).create(); err == nil || !strings.Contains(err.Error(), "size=") {
		t.Errorf("a missing disk without a size: %v", err)
	}
}

func TestParseDisk(t *testing.T) {
	got, err := ParseDisk("a/b.img,size=1G,format=qcow2,bus=nvme,readonly")
	want := Disk{Path: "a/b.img", Size: 1 << 30, Format: "qcow2", Bus: "nvme", ReadOnly: true}
	if err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, bad := range []string{"", ",size=1G", "x,size=", "x,size=-1", "x,bus=isa", "x,format=", "x,colour=red"} {
		if _, err := ParseDisk(bad); err == nil {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestParseForward(t *testing.T) {
	got, err := ParseForward("5353:53/udp")
	if want := (Forward{"udp", 5353, 53}); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, bad := range []string{"", "80", "80:", ":80", "80:0", "x:80", "80:80/sctp", "70000:80", "-1:80"} {
		if _, err := ParseForward(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	free, err := withPorts([]Forward{{"tcp", 0, 80}, {"udp", 0, 53}, {"tcp", 81, 81}})
	if err != nil || free[0].Host == 0 || free[1].Host == 0 || free[2].Host != 81 {
		t.Errorf("got %+v, %v", free, err)
	}
}

func FuzzParseDisk(f *testing.F) {
	f.Add("a,size=1G,format=raw,bus=nvme,readonly")
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := ParseDisk(s); err == nil && (d.Path == "" || d.Size < 0) {
			t.Errorf("%q gives %+v", s, d)
		}
	})
}

func FuzzParseForward(f *testing.F) {
	f.Add("8080:80/tcp")
	f.Fuzz(func(t *testing.T, s string) {
		if fw, err := ParseForward(s); err == nil && (fw.Guest < 1 || fw.Guest > 65535 || fw.Host < 0) {
			t.Errorf("%q gives %+v", s, fw)
		}
	})
}

// fakeQEMU answers commands by reply, after a greeting and an event.
func fakeQEMU(t *testing.T, conn net.Conn, reply func(command string, id int) string) {
	fmt.Fprintln(conn, `{"QMP": {"version": {}, "capabilities": []}}`)
	go func() {
		defer conn.Close()
		for s := bufio.NewScanner(conn); s.Scan(); {
			var m struct {
				Execute string
				ID      int
			}
			if err := json.Unmarshal(s.Bytes(), &m); err != nil {
				t.Errorf("got %q: %v", s.Text(), err)
				return
			}
			text := reply(m.Execute, m.ID)
			if text == "" {
				return
			}
			fmt.Fprintln(conn, text)
		}
	}()
}

func TestQMP(t *testing.T) {
	ours, theirs := net.Pipe()
	events := make(chan Event, 8)
	go fakeQEMU(t, theirs, func(command string, id int) string {
		switch command {
		case "qmp_capabilities", "query-status":
			return fmt.Sprintf(`{"event": "SHUTDOWN", "data": {"reason": "%s"}} {"return": {"status": "running"}, "id": %d}`, command, id)
		case "quit":
			return ""
		}
		return fmt.Sprintf(`{"error": {"class": "CommandNotFound", "desc": "no such"}, "id": %d}`, id)
	})
	q, err := NewQMP(t.Context(), ours, func(e Event) { events <- e })
	if err != nil {
		t.Fatal(err)
	}
	var status struct{ Status string }
	if err := q.Execute(t.Context(), "query-status", nil, &status); err != nil || status.Status != "running" {
		t.Errorf("got %+v, %v", status, err)
	}
	if err := q.Execute(t.Context(), "nonsense", nil, nil); err == nil || !strings.Contains(err.Error(), "no such") {
		t.Errorf("got %v", err)
	}
	if err := q.Execute(t.Context(), "quit", nil, nil); err == nil {
		t.Error("an answer from a QEMU that has ended")
	}
	<-q.Done()
	var reasons []string
	for range 2 {
		e := <-events
		reasons = append(reasons, e.Data["reason"].(string))
	}
	if !slices.Equal(reasons, []string{"qmp_capabilities", "query-status"}) {
		t.Errorf("events %v", reasons)
	}
}

func TestQMPSilent(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	go func() { _, _ = bufio.NewReader(theirs).ReadString(0) }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := NewQMP(ctx, ours, func(Event) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestAcceleratorOverride(t *testing.T) {
	for _, want := range []string{KVM, TCG} {
		t.Setenv("TESTVM_ACCEL", want)
		if got, err := Accelerator(t.Context(), AMD64, "/no/such"); got != want || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	}
	t.Setenv("TESTVM_ACCEL", "hvf")
	if _, err := Accelerator(t.Context(), AMD64, "/no/such"); err == nil {
		t.Error("hvf is taken")
	}
}

// A QEMU that refuses its command line says why in the error.
func TestStartFails(t *testing.T) {
	program, _ := Program(AMD64)
	dir := t.TempDir()
	script := "#!/bin/sh\necho 'no machine today' >&2\nexit 1\n"
	if err := os.WriteFile(filepath.Join(dir, program), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/bin")
	_, err := launch(t.Context(), Config{Arch: AMD64})
	if err == nil || !strings.Contains(err.Error(), "no machine today") {
		t.Errorf("got %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := launch(t.Context(), Config{Arch: AMD64}); err == nil || !strings.Contains(err.Error(), "qemu-system-x86") {
		t.Errorf("got %v", err)
	}
}
