package session_test

import (
	"os"
	"testing"

	"keelson/testvm/vm/vmtest"
)

func TestMain(m *testing.M) { os.Exit(vmtest.Main(m)) }
