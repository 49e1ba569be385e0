package control

import (
	"context"
	"net/http"
	"slices"
	"time"

	"keelson/runtime/boots"
	"keelson/runtime/logs/reader"
	"keelson/runtime/timeline"
)

// KeptBoot is a boot of which logs are kept, or the one that runs.
type KeptBoot struct {
	Boot     int       `json:"boot"`             // 0 is the one that runs, -1 the one before
	Number   int       `json:"number,omitempty"` // counted on the disk; missing: it is not kept
	ID       string    `json:"id,omitempty"`     // boot ID of the kernel; missing: not known
	Began    time.Time `json:"began,omitzero"`   // by the clock as it was set then; missing: not known
	Seen     time.Time `json:"seen,omitzero"`    // when it ended, or was last seen to run
	How      string    `json:"how,omitempty"`    // how it ended: one of package boots; missing: it runs, or nothing is known
	By       string    `json:"by,omitempty"`     // who has ordered the end
	End      string    `json:"end,omitempty"`    // how it ended, for people
	Kernel   string    `json:"kernel,omitempty"` // release
	Version  string    `json:"version,omitempty"`
	Watchdog []string  `json:"watchdog,omitempty"` // what watchdogs say of the reset
}

// KeptBoots are the boots of which logs are kept, the oldest first. The last one is that which runs.
type KeptBoots struct {
	Boots []KeptBoot `json:"boots"`
}

// ReadKeptBoots returns the boots of which a set of logs has some.
func ReadKeptBoots(set reader.Set) (KeptBoots, error) {
	all, err := set.ListBoots()
	if err != nil {
		return KeptBoots{}, err
	}
	id, err := boots.This()
	if err != nil {
		return KeptBoots{}, err
	}
	now := time.Now().UTC().Round(time.Millisecond)
	this := KeptBoot{ID: id.String(), Began: now.Add(-timeline.Now()), Seen: now}
	if i := slices.IndexFunc(all, func(b boots.Boot) bool { return b.ID == id }); i >= 0 {
		began := this.Began // The clock may have been set since.
		this = keptBoot(all[i])
		this.Began, this.Seen, this.How, this.By, this.End = began, now, "", "", ""
		all = all[:i]
	}
	k := KeptBoots{Boots: make([]KeptBoot, 0, len(all)+1)}
	for i, b := range all {
		one := keptBoot(b)
		one.Boot = i - len(all)
		k.Boots = append(k.Boots, one)
	}
	k.Boots = append(k.Boots, this)
	return k, nil
}

func keptBoot(b boots.Boot) KeptBoot {
	k := KeptBoot{Number: b.Number, Seen: b.Seen().UTC(), End: b.String()}
	if b.ID != (boots.ID{}) {
		k.ID = b.ID.String()
	}
	if b.Begin != nil {
		k.Began, k.Kernel, k.Version = b.Begin.Time, b.Begin.Kernel, b.Begin.Version
	}
	if b.End != nil {
		k.How, k.By, k.Watchdog = b.End.How, b.End.By, b.End.Watchdog
	}
	return k
}

// BootsRoute returns the operation that lists boots of which logs are kept.
func BootsRoute(set reader.Set) Route {
	return Route{"GET", prefix + "/boots", Reader, nil, nil, KeptBoots{}, false, answer(func(*http.Request) (KeptBoots, error) { return ReadKeptBoots(set) })}
}

// KeptBoots returns the boots of which logs are kept.
func (c *Client) KeptBoots(ctx context.Context) (k KeptBoots, err error) {
	return k, c.get(ctx, "/boots", nil, &k)
}
