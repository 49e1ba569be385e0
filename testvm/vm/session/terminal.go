package session

import (
	"context"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"keelson/testvm/vm"
)

// escape precedes a key for keelson rather than for the guest: ctrl-a.
const escape = 0x01

// attend connects the terminal with the guest until the guest ends, the user types
// ctrl-a x, or ctx ends.
func attend(ctx context.Context, v *vm.VM, o Options) error {
	state, err := term.MakeRaw(int(o.Stdin.Fd()))
	if err != nil {
		return fmt.Errorf("cannot take over the terminal: %w", err)
	}
	restore := func() { _ = term.Restore(int(o.Stdin.Fd()), state) }
	defer restore()
	fmt.Fprint(o.Stdout, "keelson: ctrl-a x powers the machine off, ctrl-a q kills it\r\n")
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	quit := make(chan struct{})
	go typing(o.Stdin, v, leave, func() { close(quit) })
	type end struct {
		exit vm.Exit
		err  error
	}
	ended := make(chan end, 1)
	go func() {
		exit, err := v.WaitExit(context.Background())
		ended <- end{exit, err}
	}()
	off := ctx.Done()
	for {
		select {
		case e := <-ended:
			if e.err != nil {
				return e.err
			}
			return wantEnded(e.exit)
		case <-quit:
			return nil
		case <-off:
			off = nil
			if err := v.PowerButton(context.Background()); err != nil {
				return err
			}
		}
	}
}

// wantEnded accepts every end that a user at the console may have requested.
func wantEnded(exit vm.Exit) error {
	if exit == vm.Rebooted || exit == vm.Halted {
		return nil
	}
	return wantPoweredDown(exit)
}

// typing passes keys to the guest and handles escapes. It returns at the end of stdin, on
// ctrl-a q, or when the guest takes no more keys.
func typing(in *os.File, guest io.Writer, powerOff, quit func()) {
	buf := make([]byte, 256)
	var e escaper
	for {
		n, err := in.Read(buf)
		if err != nil {
			return
		}
		keys, action := e.feed(buf[:n])
		if _, err := guest.Write(keys); err != nil {
			return
		}
		switch action {
		case 'x':
			powerOff()
		case 'q':
			quit()
			return
		}
	}
}

// escaper separates keys for the guest from keys after ctrl-a. ctrl-a twice sends one
// ctrl-a to the guest.
type escaper struct {
	pending bool
}

func (e *escaper) feed(in []byte) (keys []byte, action byte) {
	for _, b := range in {
		switch {
		case !e.pending && b == escape:
			e.pending = true
		case !e.pending:
			keys = append(keys, b)
		default:
			e.pending = false
			switch b {
			case escape:
				keys = append(keys, b)
			case 'x', 'q':
				action = b
			}
		}
	}
	return keys, action
}
