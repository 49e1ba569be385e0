package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kindsFile names the resources to take.
const kindsFile = "/run/greedy-kinds"

// greedy takes as much as it can get of the resources in kindsFile, which the kernel limits
// per user or in total, prints how much it got of each, and keeps it.
func greedy([]string) error {
	var took strings.Builder
	for _, kind := range strings.Fields(currentKinds()) {
		n := 0
		if take := takers[kind]; take != nil {
			n = take()
		}
		fmt.Fprintf(&took, "took %d of %s\n", n, kind)
	}
	fmt.Print(took.String())
	return sleep(nil)
}

func currentKinds() string {
	text, err := os.ReadFile(kindsFile)
	if err != nil {
		return "nothing"
	}
	return strings.TrimSpace(string(text))
}

// takers take more than the kernel's default limit on a machine with 512 MB, or until the
// kernel refuses.
var takers = map[string]func() int{
	"instances":  func() int { return count(2000, func() bool { _, err := unix.InotifyInit1(0); return err == nil }) },
	"watches":    takeWatches,
	"epoll":      takeEpoll,
	"terminals":  func() int { return count(3200, func() bool { return open("/dev/ptmx") }) },
	"signals":    func() int { return count(2200, timer) },
	"pipes":      func() int { return count(2000, largePipe) },
	"files":      func() int { return count(60000, func() bool { return eventFD() >= 0 }) },
	"queues":     takeQueues,
	"threads":    takeThreads,
	"keys":       takeKeys,
	"namespaces": takeNamespaces,
}

func count(most int, take func() bool) (n int) {
	for n < most && take() {
		n++
	}
	return n
}

// takeWatches watches the same folders with many inotify instances.
func takeWatches() int {
	paths := []string{"/", "/proc", "/proc/sys", "/proc/bus", "/proc/irq", "/sys", "/sys/kernel", "/sys/class", "/sys/devices", "/dev"}
	n := 0
	for range 1000 {
		fd, err := unix.InotifyInit1(0)
		if err != nil {
			return n
		}
		for _, path := range paths {
			if _, err := unix.InotifyAddWatch(fd, path, unix.IN_CREATE); err == nil {
				n++
			}
		}
	}
	return n
}

func takeEpoll() int {
	var files []int
	for range 1000 {
		if fd := eventFD(); fd >= 0 {
			files = append(files, fd)
		}
	}
	n := 0
	for range 120 {
		e, err := unix.EpollCreate1(0)
		if err != nil {
			return n
		}
		for _, fd := range files {
			if unix.EpollCtl(e, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN}) == nil {
				n++
			}
		}
	}
	return n
}

func eventFD() int {
	fd, err := unix.Eventfd(0, 0)
	if err != nil {
		return -1
	}
	return fd
}

func open(path string) bool {
	_, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY, 0)
	return err == nil
}

// timer makes a timer, which reserves a pending signal.
func timer() bool {
	var id int32
	_, _, errno := unix.Syscall(unix.SYS_TIMER_CREATE, 0, 0, uintptr(unsafe.Pointer(&id)))
	return errno == 0
}

func largePipe() bool {
	var ends [2]int
	if unix.Pipe(ends[:]) != nil {
		return false
	}
	_, err := unix.FcntlInt(uintptr(ends[0]), unix.F_SETPIPE_SZ, 1<<20)
	return err == nil
}

func takeQueues() int {
	n := 0
	return count(100, func() bool { n++; return queue(fmt.Sprint("queue", n)) })
}

// queue makes a POSIX message queue (mq_open(2)).
func queue(name string) bool {
	b, err := unix.BytePtrFromString(name)
	if err != nil {
		return false
	}
	_, _, errno := unix.Syscall6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(b)), unix.O_CREAT|unix.O_RDWR, 0o600, 0, 0, 0)
	return errno == 0
}

// takeThreads ends the program, as in any Go program, if the kernel refuses a thread.
func takeThreads() int {
	debug.SetMaxThreads(20000)
	const n = 4400
	var started sync.WaitGroup // Each thread blocks only once: to switch threads is slow in a machine.
	started.Add(n)
	for range n {
		go func() {
			runtime.LockOSThread()
			started.Done()
			select {}
		}()
	}
	started.Wait()
	return n
}

// takeKeys uses up the quota with large keys, then with smaller and smaller ones, and keeps
// taking what other programs release.
func takeKeys() int {
	n := takeKeysNow()
	go func() {
		runtime.LockOSThread() // Each thread has its own keyrings.
		for i := 0; ; i++ {
			_, _ = unix.AddKey("user", fmt.Sprint("later", i), []byte{0}, unix.KEY_SPEC_PROCESS_KEYRING)
			time.Sleep(time.Millisecond)
		}
	}()
	return n
}

func takeKeysNow() int {
	payload, n := make([]byte, 32000), 0
	for len(payload) > 0 {
		_, err := unix.AddKey("user", fmt.Sprint(n), payload, unix.KEY_SPEC_PROCESS_KEYRING)
		switch {
		case errors.Is(err, unix.EDQUOT):
			payload = payload[:len(payload)/2]
		case err != nil:
			fmt.Println("cannot add a key:", err)
			return n
		default:
			n++
		}
	}
	return n
}

// takeNamespaces starts a child, root of its own user namespace, which makes the namespaces
// and keeps them open. They need no process each.
func takeNamespaces() int {
	child := exec.Command("/proc/self/exe", "namespaces")
	one := []syscall.SysProcIDMap{{Size: 1}}
	child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: one, GidMappings: one}
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		return 0
	}
	if err := child.Start(); err != nil {
		fmt.Println("cannot make a user namespace:", err)
		return 0
	}
	n := 0
	_, _ = fmt.Fscan(out, &n)
	return n
}

// namespaces is the child of takeNamespaces.
func namespaces([]string) error {
	runtime.LockOSThread()
	n := count(2200, func() bool {
		err := unix.Unshare(unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP)
		for _, name := range []string{"uts", "ipc", "mnt", "cgroup"} {
			if err == nil {
				_, err = unix.Open("/proc/thread-self/ns/"+name, unix.O_RDONLY, 0)
			}
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "cannot make a namespace:", err)
		}
		return err == nil
	})
	fmt.Println(n)
	return sleep(nil)
}
