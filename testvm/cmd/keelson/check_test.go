package main

import (
	"errors"
	"strings"
	"testing"

	"keelson/testvm/image"
)

func TestPrintReport(t *testing.T) {
	problem, away := errors.New("a.yml:1: x: is bad"), errors.New("a.yml:2: y: is not on this host")
	for _, c := range []struct {
		report    image.Report
		want, err string
	}{
		{image.Report{}, "", ""},
		{image.Report{NotChecked: []error{away}}, "a.yml:2: y: is not on this host: not checked (--pull fetches it)\n", ""},
		{image.Report{Problems: []error{problem}, NotChecked: []error{away}}, "a.yml:1: x: is bad\na.yml:2: y: is not on this host: not checked (--pull fetches it)\n", "1 problem found"},
		{image.Report{Problems: []error{problem, problem}}, "a.yml:1: x: is bad\na.yml:1: x: is bad\n", "2 problems found"},
	} {
		var out strings.Builder
		err := printReport(&out, c.report)
		if out.String() != c.want || (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
			t.Errorf("got %q, %v; want %q, %s", out.String(), err, c.want, c.err)
		}
	}
}
