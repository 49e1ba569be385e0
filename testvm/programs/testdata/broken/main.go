// Command broken takes the place of one of keelson's programs. It answers questions for its
// version, and otherwise fails as mode says.
package main

import (
	"fmt"
	"os"
	"slices"
	"time"
)

var mode string // "hangs", or it exits with 3

func main() {
	if len(os.Args) == 2 && slices.Contains([]string{"version", "--version", "-v"}, os.Args[1]) {
		fmt.Println("broken", mode)
		return
	}
	for mode == "hangs" {
		time.Sleep(time.Hour)
	}
	os.Exit(3)
}
