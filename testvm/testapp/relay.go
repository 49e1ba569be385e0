package main

import (
	"io"
	"net"
	"strconv"

	"github.com/mdlayher/vsock"
)

// relay passes each TCP connection on to a port of AF_VSOCK at the local CID.
func relay(args []string) error {
	port, err := strconv.ParseUint(arg(args, 1), 10, 32)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", arg(args, 0))
	if err != nil {
		return err
	}
	for {
		near, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer near.Close()
			far, err := vsock.Dial(vsock.Local, uint32(port), nil)
			if err != nil {
				println("cannot connect:", err.Error())
				return
			}
			defer far.Close()
			go func() {
				_, _ = io.Copy(far, near)
				far.Close()
			}()
			_, _ = io.Copy(near, far)
		}()
	}
}
