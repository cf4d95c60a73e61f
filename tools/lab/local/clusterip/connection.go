package clusterip

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
)

// connect takes a connection to one endpoint, and lasts as long as it does.
func (p *proxy) connect(client *net.TCPConn, endpoints []netip.AddrPort) {
	endpoint := endpoints[rand.IntN(len(endpoints))]
	dialer := net.Dialer{KeepAlive: -1}
	conn, err := dialer.DialContext(p.ctx, "tcp", endpoint.String())
	if err != nil {
		p.log.Info("endpoint cannot be reached", "virtualIP", client.LocalAddr(), "endpoint", endpoint, "error", err)
		reset(client)

		return
	}
	pod, isTCP := conn.(*net.TCPConn)
	if !isTCP {
		// Of "tcp" there is no other sort.
		reset(client)

		return
	}
	stop := context.AfterFunc(p.ctx, func() { reset(client, pod) })
	defer stop()

	var there sync.WaitGroup
	there.Go(func() { relay(pod, client) })
	relay(client, pod)
	there.Wait()
	// Both have ended. If they were reset they are closed already.
	_ = client.Close()
	_ = pod.Close()
}

// relay copies one direction. A clean end is passed on as one, and the other direction
// goes on. Anything else is a reset for both sides: what a server that was killed leaves
// behind must not look like an answer that has come to its end.
func relay(to, from *net.TCPConn) {
	// Between two TCP connections the kernel does this by itself (splice on Linux).
	if _, err := io.Copy(to, from); err != nil {
		reset(to, from)

		return
	}
	if err := to.CloseWrite(); err != nil {
		reset(to, from)
	}
}

// reset closes connections with RST in place of FIN.
func reset(conns ...*net.TCPConn) {
	for _, conn := range conns {
		// Both fail only if it is closed already.
		_ = conn.SetLinger(0)
		_ = conn.Close()
	}
}
