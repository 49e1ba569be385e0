// Package threads creates the threads of a program in advance.
//
// The Go runtime creates a thread when none is idle and never gives one back. If the
// kernel refuses a thread, because of a lack of memory or too many processes, the runtime
// ends the program (newosproc in runtime/os_linux.go). A program that must not end at that
// moment creates its threads before.
package threads

import (
	"runtime"
	"sync"
)

// Create makes the program have at least n threads for goroutines. It locks that many
// goroutines to threads at the same time.
func Create(n int) {
	var started, ended sync.WaitGroup
	started.Add(n)
	for range n {
		ended.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread() // Otherwise the thread would end with the goroutine.
			started.Done()
			started.Wait()
		})
	}
	ended.Wait()
}
