package keyring

import "testing"

func TestExhausted(t *testing.T) {
	for message, want := range map[string]bool{
		"runc create failed: unable to start container process: error during container init: " +
			"unable to join session keyring: unable to create session key: disk quota exceeded": true,
		"create keyring `web`: Disk quota exceeded":                                             true,
		"unable to join session keyring: unable to create session key: operation not permitted": false,
		"mkdir /run/containerd/x: disk quota exceeded":                                          false,
		"": false,
	} {
		if Exhausted(message) != want {
			t.Errorf("%q: want %v", message, want)
		}
	}
}
