package kubernetes

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"

	"github.com/evenkeel/evenkeel/tools/conformance"
)

// door is a listener on a port of the loopback interface behind which an API server can be away: connections are
// refused, broken or left without an answer by the kernel or as early as a program can.
type door struct {
	reserved int // a socket that holds the port while nobody listens
	address  string
	accepted chan net.Conn
	closed   chan struct{}

	mu        sync.Mutex
	listener  net.Listener // nil while connections are refused
	outage    conformance.Outage
	over      chan struct{} // closed when the outage is
	conns     map[*guest]struct{}
	accepting sync.WaitGroup
}

func newDoor() (*door, error) {
	reserved, address, err := reserve()
	if err != nil {
		return nil, fmt.Errorf("reserve a port: %w", err)
	}
	d := &door{
		reserved: reserved, address: address,
		accepted: make(chan net.Conn), closed: make(chan struct{}),
		over: make(chan struct{}), conns: map[*guest]struct{}{},
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.listen(); err != nil {
		_ = syscall.Close(reserved)

		return nil, err
	}

	return d, nil
}

// reserve binds a socket and does not listen. The kernel refuses connections to it as to a port that nobody has, and
// gives the port to nobody else; both sockets having SO_REUSEADDR, a listener can be bound to it beside this one.
func reserve() (int, string, error) {
	syscall.ForkLock.RLock()
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(socket)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return 0, "", os.NewSyscallError("socket", err)
	}
	err = errors.Join(
		syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1),
		syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	var bound syscall.Sockaddr
	if err == nil {
		bound, err = syscall.Getsockname(socket)
	}
	inet, ok := bound.(*syscall.SockaddrInet4)
	if err != nil || !ok {
		return 0, "", errors.Join(err, syscall.Close(socket))
	}

	return socket, fmt.Sprintf("127.0.0.1:%d", inet.Port), nil
}

// listen is called with the lock held.
func (d *door) listen() error {
	listener, err := net.Listen("tcp", d.address)
	if err != nil {
		return fmt.Errorf("listen for the proxy: %w", err)
	}
	d.listener = listener
	d.accepting.Go(func() { d.accept(listener) })

	return nil
}

func (d *door) accept(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return // closed
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			d.accepting.Go(func() { d.receive(&guest{TCPConn: tcp, door: d}) })
		}
	}
}

// receive lets a connection in, unless there is an outage.
func (d *door) receive(g *guest) {
	d.mu.Lock()
	d.conns[g] = struct{}{}
	outage, over := d.outage, d.over
	d.mu.Unlock()
	if outage == conformance.Silent {
		select {
		case <-over:
		case <-d.closed:
		}
	} else if outage != conformance.Up {
		g.cut()

		return
	}
	select {
	case d.accepted <- g:
	case <-d.closed:
		g.cut()
	}
}

// set begins or ends an outage. When it returns, no connection is left that was let in before.
func (d *door) set(outage conformance.Outage) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.outage = outage
	close(d.over)
	d.over = make(chan struct{})
	if outage == conformance.Refusing && d.listener != nil {
		_ = d.listener.Close() // its error is that it is closed
		d.listener = nil
	}
	if outage != conformance.Up {
		for each := range d.conns {
			each.reset()
		}
	}
	if outage != conformance.Refusing && d.listener == nil {
		return d.listen()
	}

	return nil
}

// Accept returns the next connection that is let in.
func (d *door) Accept() (net.Conn, error) {
	select {
	case conn := <-d.accepted:
		return conn, nil
	case <-d.closed:
		return nil, net.ErrClosed
	}
}

// Close shuts the door for good.
func (d *door) Close() error {
	err := d.set(conformance.Refusing)
	close(d.closed)
	d.accepting.Wait()

	return errors.Join(err, syscall.Close(d.reserved))
}

// Addr is the same for all of its life.
func (d *door) Addr() net.Addr {
	address, _ := net.ResolveTCPAddr("tcp", d.address) // it has no names in it

	return address
}

// guest is a connection that was let in.
type guest struct {
	*net.TCPConn

	door *door
}

// Close is called when the connection has ended by itself.
func (g *guest) Close() error {
	g.door.mu.Lock()
	delete(g.door.conns, g)
	g.door.mu.Unlock()

	return g.TCPConn.Close()
}

// cut breaks a connection, so that its client sees that it did not end in good order.
func (g *guest) cut() {
	g.reset()
	_ = g.Close() // it is closed
}

func (g *guest) reset() {
	_ = g.SetLinger(0) // makes Close send RST; if it cannot, a FIN must do
	_ = g.TCPConn.Close()
}
