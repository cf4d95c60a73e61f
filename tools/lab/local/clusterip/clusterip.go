// Package clusterip stands in for kube-proxy: it makes the virtual IPs of ClusterIP
// Services work.
//
// What is real: each new connection goes to one endpoint, picked uniformly at random
// among the ready ones (as in kube-proxy's nftables mode), or among those that still
// serve while they terminate when none is ready (KEP-1669). From then on it stays
// there, whatever becomes of the endpoint, as the kernel's connection tracking sees to.
// Without any endpoint a connection is refused. Ends and resets are passed on.
//
// What is not: kube-proxy only writes rules, and the kernel rewrites packets. Here
// a program accepts the connection, opens a second one and copies bytes. So
//
//   - a pod sees the connection come from the proxy, not from its client;
//   - if the endpoint that was picked refuses, the client is connected for a moment and
//     then reset, where in a cluster it is refused;
//   - a reset from a side that had already ended cleanly is passed on when the other
//     side next sends something;
//   - bytes pass through one more process.
//
// Services other than TCP, and session affinity, are refused.
package clusterip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
)

// Options are what a caller may want to know of.
type Options struct {
	// Logger hears of connections that could not be made. Nobody does if it is nil.
	Logger *slog.Logger
}

// Run serves the virtual IPs of all ClusterIP Services of the store, as they come and
// go, until ctx is done; then it resets what is still connected, and returns nil. It
// fails if a Service asks for what is not there, or if a virtual IP cannot be listened
// on.
func Run(ctx context.Context, store *apiserver.Store, opts Options) error {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &proxy{ctx: ctx, log: opts.Logger, open: make(map[netip.AddrPort]*front), failed: make(chan error, 1)}
	defer p.connections.Wait()
	defer cancel()
	defer p.closeAll()

	for {
		changed := store.Changed()
		wanted, err := virtualIPs(store)
		if err == nil {
			err = p.sync(wanted)
		}
		if err != nil {
			return fmt.Errorf("clusterip: %w", err)
		}
		select {
		case <-changed:
		case err := <-p.failed:
			return fmt.Errorf("clusterip: %w", err)
		case <-ctx.Done():
			return nil
		}
	}
}

// proxy is what Run keeps.
type proxy struct {
	ctx         context.Context
	log         *slog.Logger
	open        map[netip.AddrPort]*front
	failed      chan error // the first reason not to go on
	connections sync.WaitGroup
}

// front is one port of a virtual IP that has endpoints.
type front struct {
	listener  net.Listener
	endpoints atomic.Pointer[[]netip.AddrPort]
	accepting sync.WaitGroup
}

// sync makes what is open equal to what is wanted. A port without endpoints is closed,
// so that the kernel refuses connections, as the rules of kube-proxy do.
func (p *proxy) sync(wanted map[netip.AddrPort]virtualIP) error {
	for address, f := range p.open {
		if len(wanted[address].endpoints) == 0 {
			f.close()
			delete(p.open, address)
		}
	}
	for _, address := range slices.SortedFunc(maps.Keys(wanted), netip.AddrPort.Compare) {
		endpoints := wanted[address].endpoints
		if len(endpoints) == 0 {
			continue
		}
		if f, isOpen := p.open[address]; isOpen {
			f.endpoints.Store(&endpoints)

			continue
		}
		f, err := p.listen(address, endpoints)
		if err != nil {
			return fmt.Errorf("service %s: %w", wanted[address].service, err)
		}
		p.open[address] = f
	}

	return nil
}

func (p *proxy) listen(address netip.AddrPort, endpoints []netip.AddrPort) (*front, error) {
	config := net.ListenConfig{KeepAlive: -1} // the ends decide on keepalives
	listener, err := config.Listen(p.ctx, "tcp", address.String())
	if err != nil {
		return nil, err
	}
	f := &front{listener: listener}
	f.endpoints.Store(&endpoints)
	f.accepting.Go(func() { p.accept(f) })

	return f, nil
}

func (p *proxy) accept(f *front) {
	for {
		conn, err := f.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			p.fail(fmt.Errorf("virtual IP %s: %w", f.listener.Addr(), err))

			return
		}
		client, isTCP := conn.(*net.TCPConn)
		if !isTCP {
			p.fail(fmt.Errorf("virtual IP %s: a connection of type %T is not TCP", f.listener.Addr(), conn))

			return
		}
		endpoints := *f.endpoints.Load()
		p.connections.Go(func() { p.connect(client, endpoints) })
	}
}

// fail ends Run. Only the first failure is told.
func (p *proxy) fail(err error) {
	select {
	case p.failed <- err:
	default:
	}
}

func (p *proxy) closeAll() {
	for _, f := range p.open {
		f.close()
	}
}

func (f *front) close() {
	// It fails only if it is closed already.
	_ = f.listener.Close()
	f.accepting.Wait()
}
