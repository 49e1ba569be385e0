package pressure

import (
	"fmt"

	"github.com/docker/go-units"

	"keelson/runtime/procfs"
)

// Use is what a service uses.
type Use struct {
	Held      int64   // without caches of files, which the kernel can drop; with what is swapped out
	Used      int64   // all that counts for the limit
	Protected int64   // memory.min and memory.low
	Limit     int64   // memory.max or memory.high, whichever is lower; 0: none
	Stalled   float64 // percent of the last 10 s in which all of its tasks waited for memory
	Score     int     // oom_score_adj, -1000 to 1000
}

// Choice is the result of Choose.
type Choice struct {
	Index int    // of the service; -1: none is to be restarted
	Why   string // for people
}

const (
	// scarce: the memory is short if less than a tenth is available. Otherwise tasks wait because
	// of the limits of their cgroups.
	scarce = 10
	// full: a cgroup that is filled to nine tenths is at its limit.
	fullParts, fullOf = 9, 10
	// worth: the restart of a service that holds less than a thirtieth of the memory helps nobody.
	worth = 30
	// never is the oom_score_adj of processes that the kernel does not kill.
	never = -1000
)

// Choose returns the service that is worst off.
//
// If memory is available, tasks wait because a service has reached the limit of its own cgroup:
// it is the one at its limit that waits most. If memory is short, the others wait for what one holds: it
// is the one with the highest score, which is computed as the kernel's OOM killer does: the memory that it
// holds beyond its protection, and for each point of oom_score_adj a thousandth of the machine's memory.
func Choose(m procfs.Memory, services []Use) Choice {
	if m.Available >= m.Total/scarce {
		return chooseLimited(services)
	}
	best, highest := -1, int64(0)
	for i, s := range services {
		points := s.excess() + int64(s.Score)*m.Total/1000
		if s.Score > never && s.excess() >= m.Total/worth && points > highest {
			best, highest = i, points
		}
	}
	if best < 0 {
		return Choice{-1, fmt.Sprintf("%s of %s of memory are available, and no service that may be restarted holds much", size(m.Available), size(m.Total))}
	}
	return Choice{best, fmt.Sprintf("memory is short: %s of %s are available, and the service holds %s", size(m.Available), size(m.Total), size(services[best].Held))}
}

func chooseLimited(services []Use) Choice {
	best, longest := -1, 0.0
	for i, s := range services {
		if s.Limit > 0 && s.Used >= s.Limit/fullOf*fullParts && s.Stalled > longest {
			best, longest = i, s.Stalled
		}
	}
	if best < 0 {
		return Choice{-1, "memory is available, and no service that may be restarted has reached the limit of its own"}
	}
	s := services[best]
	return Choice{best, fmt.Sprintf("it has reached its limit of memory, %s, and has waited for memory for %.0f %% of the last 10 s", size(s.Limit), s.Stalled)}
}

// excess is what a service holds beyond what the kernel leaves it.
func (s Use) excess() int64 { return max(0, s.Held-s.Protected) }

func size(n int64) string {
	return units.CustomSize("%.1f %s", float64(n), 1024, []string{"B", "KiB", "MiB", "GiB", "TiB"})
}
