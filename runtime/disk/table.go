package disk

import (
	"encoding/json"
	"fmt"

	"keelson/runtime/disk/plan"
)

// table returns the partition table of a disk as sfdisk finds it, or nil.
func (y System) table(d plan.Device) (*plan.Table, error) {
	out, err := y.run(Command{Name: "sfdisk", Args: []string{"--json", y.node(d)}, Quiet: true})
	if err != nil {
		return nil, nil // sfdisk ends with 1 if there is none.
	}
	return parseTable(out)
}

// parseTable parses the output of sfdisk --json.
func parseTable(text string) (*plan.Table, error) {
	var out struct {
		PartitionTable *struct {
			Label      string `json:"label"`
			Partitions []struct {
				Name string `json:"name"`
			} `json:"partitions"`
		} `json:"partitiontable"`
	}
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		return nil, fmt.Errorf("unexpected output of sfdisk: %w", err)
	}
	if out.PartitionTable == nil || out.PartitionTable.Label == "" {
		return nil, nil
	}
	t := &plan.Table{Kind: out.PartitionTable.Label}
	for _, part := range out.PartitionTable.Partitions {
		t.Names = append(t.Names, part.Name)
	}
	return t, nil
}
