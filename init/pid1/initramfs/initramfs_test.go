package initramfs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFailedUnpacking(t *testing.T) {
	for record, want := range map[string]string{
		"0,123,456,-;Initramfs unpacking failed: write error\n SUBSYSTEM=x\n":           "Initramfs unpacking failed: write error",
		"6,1,2,-;rootfs image is not initramfs (no cpio magic); looks like an initrd\n": "rootfs image is not initramfs (no cpio magic); looks like an initrd",
		"30,1,2,-;somebody says Initramfs unpacking failed\n":                           "",
		"6,1,2,-;Run /init as init process\n":                                           "",
		"":                                                                              "", ";": "", "x;Initramfs unpacking failed": "",
	} {
		if got, ok := failedUnpacking(record); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v", record, got, ok)
		}
	}
}

func FuzzFailedUnpacking(f *testing.F) {
	f.Add("0,123,456,-;Initramfs unpacking failed: write error\n")
	f.Fuzz(func(t *testing.T, record string) {
		if text, ok := failedUnpacking(record); ok && !strings.Contains(record, text) {
			t.Fatalf("%q gives %q", record, text)
		}
	})
}

func TestUnpackingVerdict(t *testing.T) {
	const failed = "Initramfs unpacking failed: "
	keelson, ended := unpacking{begun: true}, unpacking{begun: true, whole: true}
	for _, tc := range []struct {
		u             unpacking
		says          string
		warning, fail string
	}{
		{unpacking{}, "", "", ""},
		{ended, "", "", ""},
		{ended, "invalid magic at start of compressed archive", "image is complete", ""},
		{ended, "ZSTD-compressed data is truncated", "image is complete", ""},
		{ended, "write error", "image is complete", ""},
		{keelson, "", "", "ends before its last entry"},
		{keelson, "invalid magic at start of compressed archive", "", "truncated or corrupt"},
		{keelson, "ZSTD-compressed data is truncated", "", "truncated or corrupt"},
		{keelson, "write error", "", "has 469 MB of memory"},
		{unpacking{}, "write error", "", "has 469 MB of memory"},
		{unpacking{}, "Out of memory while allocating ZSTD_DStream", "", "has 469 MB of memory"},
		{unpacking{}, "XZ decompressor ran out of memory", "", "has 469 MB of memory"},
		{unpacking{}, "Could not allocate output buffer", "", "has 469 MB of memory"},
		{unpacking{}, "invalid magic at start of compressed archive", "image is complete", ""},
		{unpacking{}, "junk within compressed archive", "image is complete", ""},
		{unpacking{}, "broken padding", "image is complete", ""},
		{unpacking{}, "compression method lz4 not configured", "image is complete", ""},
		{unpacking{}, "ZSTD-compressed data is truncated", "", "truncated or corrupt"},
		{unpacking{}, "junk at the end of compressed archive", "", "truncated or corrupt"},
		{unpacking{}, "no cpio magic", "", "truncated or corrupt"},
		{unpacking{}, "crc error", "", "truncated or corrupt"},
		{unpacking{}, "words that no kernel has said yet", "", "truncated or corrupt"},
	} {
		if tc.u.complaint = tc.says; tc.says != "" {
			tc.u.complaint = failed + tc.says
		}
		warning, err := tc.u.verdict(func() string { return "469 MB" })
		if (warning == "") != (tc.warning == "") || !strings.Contains(warning, tc.warning) || !strings.Contains(warning, tc.says) && warning != "" {
			t.Errorf("%+v: warning %q", tc.u, warning)
		}
		if (err == nil) != (tc.fail == "") || err != nil && (!errors.Is(err, ErrIncomplete) || !strings.Contains(err.Error(), tc.fail) || !strings.Contains(err.Error(), tc.says)) {
			t.Errorf("%+v: error %v", tc.u, err)
		}
		if err != nil && strings.Contains(err.Error(), "memory") != (tc.fail == "has 469 MB of memory") {
			t.Errorf("%+v: wrong cause: %v", tc.u, err)
		}
	}
}

func TestComplaintInAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kmsg")
	if err := os.WriteFile(path, []byte("0,1,2,-;Initramfs unpacking failed: write error\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := complaint(path); err != nil || got != "Initramfs unpacking failed: write error" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := complaint(path + ".none"); err == nil {
		t.Error("no error for a missing kernel log")
	}
}

func TestMemTotal(t *testing.T) {
	for text, want := range map[string]string{
		"MemTotal:         223744 kB\nMemFree: 1 kB\n": "218 MB", "": "an unknown amount", "MemTotal:": "an unknown amount", "MemTotal: x kB": "an unknown amount",
	} {
		if got := memTotalIn(text); got != want {
			t.Errorf("%q: %s", text, got)
		}
	}
}
