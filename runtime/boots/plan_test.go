package boots

import (
	"testing"
)

func TestExcess(t *testing.T) {
	const mib = 1 << 20
	b := Bounds{Boots: 4, Size: 16 * mib} // 5 MiB are for the boot that runs.
	for _, tt := range []struct {
		name   string
		bounds Bounds
		sizes  []int64
		want   int
	}{
		{"none", b, nil, 0},
		{"all fit", b, []int64{mib, mib, mib}, 0},
		{"too many", b, []int64{mib, mib, mib, mib, mib}, 2},
		{"too large", b, []int64{mib, 6 * mib, 7 * mib}, 2},
		{"the limit", b, []int64{3 * mib, 4 * mib, 6 * mib}, 1},
		{"the last stays", b, []int64{mib, 20 * mib}, 1},
		{"nothing is kept", Bounds{Boots: 0, Size: 16 * mib}, []int64{mib, mib}, 2},
		{"only the one that runs", Bounds{Boots: 1, Size: 16 * mib}, []int64{mib, mib}, 2},
	} {
		if got := tt.bounds.Excess(tt.sizes); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	for _, size := range []int64{leastSize, 5 * mib, defaultSize, mostSize} {
		if s := (Bounds{Boots: 2, Size: size}); 2*s.reserve() > size {
			t.Errorf("two boots do not fit in %d", size)
		}
	}
}

func TestParseBounds(t *testing.T) {
	for value, want := range map[string]Bounds{
		"0": {}, "10": {Boots: 10}, "1000": {Boots: 1000}, "3,size=1MiB": {3, 1 << 20}, "3,size=1TiB": {3, 1 << 40},
	} {
		if got, err := ParseBounds(value); err != nil || got != want {
			t.Errorf("%q: %+v, %v", value, got, err)
		}
	}
	for _, value := range []string{"", "-1", "1001", "x", "3,", "3,1MiB", "3,size=", "3,size=1023KiB", "3,size=2TiB", "3,size=-1MiB", "3,size=1MiB,"} {
		if got, err := ParseBounds(value); err == nil {
			t.Errorf("%q: %+v", value, got)
		}
	}
	for total, want := range map[int64]int64{0: leastSize, 100 << 20: 10 << 20, 1 << 40: defaultSize} {
		if got := DefaultBounds().on(total); got.Size != want || got.Boots != defaultBoots {
			t.Errorf("of %d: %+v", total, got)
		}
	}
}

func FuzzParseName(f *testing.F) {
	f.Add(name(12, ID{1}))
	f.Add("000001-")
	f.Fuzz(func(t *testing.T, text string) {
		if number, id, ok := parseName(text); ok && (number < 1 || name(number, id) != text) {
			t.Errorf("%q: %d, %v", text, number, id)
		}
	})
}
