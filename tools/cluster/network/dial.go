//go:build linux

package network

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Dialer opens connections from inside the network namespace of the process Pid. A
// socket stays in the namespace it was opened in, whatever its process does after.
type Dialer struct {
	Pid int
}

// DialContext connects to an address, which is an IP address and a port.
func (d Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	var conn net.Conn
	err := Inside(d.Pid, func() (err error) {
		// With an IP address there is one attempt, made by this goroutine and so on this
		// thread.
		conn, err = (&net.Dialer{}).DialContext(ctx, network, address)

		return err
	})

	return conn, err
}

// Inside calls f on a thread of its own that is in the network namespace of a process.
func Inside(pid int, f func() error) error {
	done := make(chan error, 1)
	go onOwnThread(func() {
		err := Enter(pid)
		if err == nil {
			err = f()
		}
		done <- err
	})

	return <-done
}

// onOwnThread calls f on a thread that ends with it. A namespace is a thread's, and nothing
// else may run in this one.
func onOwnThread(f func()) {
	// Never unlocked, so the thread ends with the goroutine.
	runtime.LockOSThread()
	if unix.Gettid() != os.Getpid() {
		f()

		return
	}
	// But for the first thread of the process, which does not end: it would stay in the
	// namespace. While it is kept here, the next goroutine is on another.
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		f()
	}()
	<-done
	runtime.UnlockOSThread()
}

// Enter moves the calling thread to the network namespace of a process.
func Enter(pid int) error {
	handle, err := netns.GetFromPid(pid)
	if err != nil {
		return fmt.Errorf("network namespace of process %d: %w", pid, err)
	}
	defer func() { _ = handle.Close() }()
	if err := netns.Set(handle); err != nil {
		return fmt.Errorf("enter the network namespace of process %d: %w", pid, err)
	}

	return nil
}

// Resolver looks names up in the cluster's DNS, from inside the network namespace.
func (d Dialer) Resolver() *net.Resolver {
	return &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return d.DialContext(ctx, network, net.JoinHostPort(DNS, "53"))
		},
	}
}
