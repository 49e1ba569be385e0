package main

import (
	"errors"
	"strings"
	"testing"

	"keelson/runtime/security"
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

func TestPrintSecurity(t *testing.T) {
	var out strings.Builder
	err := printSecurity(&out, []security.Report{
		{Name: "web", Score: 8.04, Rating: "unsafe", Findings: []security.Finding{
			{Field: "process.capabilities", Item: "CAP_SYS_ADMIN", Is: "held", Why: "it may mount", Advice: "# without it", Weight: 8},
			{Field: "root.readonly", Is: "false", Why: "it may change", Advice: "readonly: true", Weight: 0.2},
		}},
		{Name: "db", Rating: "isolated"},
	})
	const want = `NAME  SCORE  RATING    FINDINGS  WORST
web   8.0    unsafe    2         process.capabilities: CAP_SYS_ADMIN: held
db    0.0    isolated  0         -

web: 8.0 of 10, unsafe

8.0  process.capabilities: CAP_SYS_ADMIN: held
     it may mount
     # without it

0.2  root.readonly: false
     it may change
     readonly: true

db: 0.0 of 10, isolated
`
	if err != nil || out.String() != want {
		t.Errorf("%v\n%s\nwant\n%s", err, out.String(), want)
	}
}
