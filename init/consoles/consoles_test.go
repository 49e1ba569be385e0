package consoles

import (
	"log/slog"
	"reflect"
	"testing"

	"keelson/runtime/cmdline"
	"keelson/runtime/console"
	"keelson/runtime/userspace"
)

func TestOptions(t *testing.T) {
	line := cmdline.Parse("console=tty0 console=ttyS0,115200 keelson.loglevel=debug")
	o := Options(line, userspace.Machine())
	if want := console.Consoles([]string{"tty0", "ttyS0,115200"}); !reflect.DeepEqual(o.Devices, want) || !o.Kmsg || o.Level != slog.LevelDebug {
		t.Errorf("on a machine: %+v", o)
	}
	o = Options(line, userspace.Inside(nil, ""))
	if !reflect.DeepEqual(o.Devices, []string{console.Stdout}) || o.Kmsg || o.Level != slog.LevelDebug {
		t.Errorf("inside another system: %+v", o)
	}
	if o := Options(cmdline.Parse("keelson.loglevel=loud"), userspace.Machine()); o.Level != slog.LevelInfo {
		t.Errorf("unknown level: %v", o.Level)
	}
}
