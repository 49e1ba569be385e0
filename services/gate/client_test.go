package gate_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"strings"
	"testing"

	"keelson/services/control"
	"keelson/services/gate"
)

func TestClientOf(t *testing.T) {
	for _, tt := range []struct {
		name          string
		organizations []string
		role          control.Role
		problem       string
	}{
		{"anna", []string{"keelson:admin"}, control.Admin, ""},
		{"olga@ops.example_1-x", []string{"Example Ltd", "keelson:operator"}, control.Operator, ""},
		{"rita", []string{"keelson:reader", "keelson:"}, 0, "more than one role"},
		{"rita", []string{"keelson:reader", "keelson:admin"}, 0, "more than one role"},
		{"rita", []string{"keelson:reader", "keelson:reader"}, 0, "more than one role"},
		{"rita", nil, 0, "has no role"},
		{"rita", []string{"admin"}, 0, "has no role"},
		{"rita", []string{"keelson:root"}, 0, `there is no role "root"`},
		{"rita", []string{"keelson:none"}, 0, `there is no role "none"`},
		{"rita", []string{"Keelson:admin"}, 0, "has no role"},
		{"", []string{"keelson:admin"}, 0, "cannot be the name"},
		{"-x", []string{"keelson:admin"}, 0, "cannot be the name"},
		{"a\nb", []string{"keelson:admin"}, 0, "cannot be the name"},
		{"a (admin) through", []string{"keelson:admin"}, 0, "cannot be the name"},
		{strings.Repeat("x", 65), []string{"keelson:admin"}, 0, "cannot be the name"},
	} {
		c, err := gate.ClientOf(&x509.Certificate{Subject: pkix.Name{CommonName: tt.name, Organization: tt.organizations}})
		if tt.problem == "" && (err != nil || c.Name != tt.name || c.Role != tt.role) ||
			tt.problem != "" && (err == nil || !strings.Contains(err.Error(), tt.problem) || c != (gate.Client{})) {
			t.Errorf("%q %q: %+v, %v", tt.name, tt.organizations, c, err)
		}
	}
}
