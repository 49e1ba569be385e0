package uevent

import (
	"fmt"
	"slices"
	"testing"
)

func TestChanged(t *testing.T) {
	var many []Event
	for i := range changedLimit + 1 {
		many = append(many, Event{Named: fmt.Sprint("8:", i)})
	}
	for _, c := range []struct {
		events []Event
		want   []string
	}{
		{nil, nil}, {[]Event{{Modalias: "x"}, {Added: "cpu/cpu1"}}, nil},
		{[]Event{{Named: "8:1"}, {Modalias: "x"}, {Named: "8:0"}, {Named: "8:1"}}, []string{"8:1", "8:0"}},
		{[]Event{{Named: "8:1"}, {Lost: true}}, []string{All}}, {many, []string{All}},
	} {
		if got := Changed(c.events); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v, want %v", c.events, got, c.want)
		}
	}
}
