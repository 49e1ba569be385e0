// Command child is the child of staging.Stage in tests.
package main

import (
	"os"

	"keelson/runtime/staging"
)

func main() {
	os.Exit(staging.Main(os.Stdin, os.Stdout))
}
