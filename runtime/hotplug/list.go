package hotplug

import (
	"slices"
	"strconv"
	"strings"
)

// maxCPU is more than any kernel has (CONFIG_NR_CPUS).
const maxCPU = 1 << 16

// ParseList parses a list of CPUs such as "0-3,7" and returns them in order. It skips
// parts that are malformed.
func ParseList(text string) []int {
	var all []int
	for part := range strings.SplitSeq(strings.TrimSpace(text), ",") {
		first, last, isRange := strings.Cut(part, "-")
		from, err := strconv.ParseUint(first, 10, 32)
		to := from
		if isRange && err == nil {
			to, err = strconv.ParseUint(last, 10, 32)
		}
		if err != nil || to >= maxCPU {
			continue
		}
		for n := from; n <= to && len(all) < maxCPU; n++ {
			all = append(all, int(n))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
