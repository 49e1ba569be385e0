package pid1

import (
	"runtime"
	"sync"
)

// threads is how many PID 1 has from the start, besides the runtime's own: two
// that run Go code, and one for each goroutine that may be in a system call at
// once: signals, the two writers of the console, two keepers, the way up, the
// runtime's poller, and steps of the way down that hang and are left behind.
const threads = 16

// startThreads makes all threads that will ever be needed. The runtime makes one
// when it finds none idle, never gives one back, and ends the program when the
// kernel refuses it, for want of memory or because there are too many processes.
// In PID 1 that is a panic of the kernel. Goroutines that are locked to their
// threads, all at the same time, need one each.
func startThreads() {
	runtime.GOMAXPROCS(min(2, runtime.NumCPU()))
	var started, ended sync.WaitGroup
	started.Add(threads)
	for range threads {
		ended.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread() // Else the thread would end with the goroutine.
			started.Done()
			started.Wait()
		})
	}
	ended.Wait()
}
