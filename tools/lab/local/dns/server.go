// Package dns stands in for the cluster's DNS: CoreDNS with its kubernetes and
// loadbalance plugins, as kubeadm sets it up.
//
// What is real: it is a DNS server, over UDP and TCP, and follows the Kubernetes
// DNS specification 1.1.0 for Services, endpoints and named ports, with CoreDNS'
// reading of it where the specification leaves a choice: NXDOMAIN for a headless
// Service without a ready endpoint, records in random order, the SRV weights.
//
// What is not:
//
//   - There is one listener for each namespace, and it completes relative names
//     itself: rng-headless, rng-headless.NAMESPACE and rng-headless.NAMESPACE.svc
//     are found, with a CNAME to the whole name. In a cluster the search list in
//     the pod's resolv.conf does that, in the resolver of the client. (CoreDNS can
//     do it in the server too: its autopath plugin. It answers in the same way.)
//     So a client here sends no queries for the wrong guesses of its search list.
//   - An answer is never late: it is read from the store at the time of the query.
//     CoreDNS watches the API and is some milliseconds behind it. Neither caches:
//     kubeadm turns CoreDNS' cache off for the cluster's own names.
//   - Any other name does not exist (NXDOMAIN). A cluster would forward the query.
//     NXDOMAIN lets a resolver go on to its next guess when the search list of the
//     machine has made rng-headless.lan of rng-headless.
//   - No ExternalName Services, no PTR records and no records for pods as such.
package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
)

// DefaultTTL is how long answers are good for in a cluster made by kubeadm, whose
// Corefile says so. CoreDNS' own default is 5 s, the specification has none.
const DefaultTTL = 30 * time.Second

// maxTTL is the longest that CoreDNS' kubernetes plugin takes.
const maxTTL = time.Hour

// Options are what may differ between clusters.
type Options struct {
	// TTL is how long answers are good for, negative ones too: 1 s to 1 h, in whole
	// seconds. 0 is DefaultTTL.
	TTL time.Duration
}

// Server answers the queries of the pods of one namespace.
type Server struct {
	records records
	addr    netip.AddrPort
	udp     *mdns.Server
	tcp     *mdns.Server
	queries atomic.Int64
	down    atomic.Bool

	serving sync.WaitGroup
	close   func() error
	unwatch func() bool
}

// Listen opens the address for UDP and TCP and answers from the store until ctx is
// done or Close. Port 0 takes a free one.
func Listen(
	ctx context.Context, store *apiserver.Store, namespace string, addr netip.AddrPort, opts Options,
) (*Server, error) {
	if opts.TTL == 0 {
		opts.TTL = DefaultTTL
	}
	if opts.TTL < time.Second || opts.TTL > maxTTL || opts.TTL%time.Second != 0 {
		return nil, fmt.Errorf("dns: a TTL of %s: give whole seconds, 1s to %s", opts.TTL, maxTTL)
	}
	packets, listener, err := open(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("dns: %w", err)
	}
	addr, err = netip.ParseAddrPort(listener.Addr().String())
	if err != nil {
		return nil, fmt.Errorf("dns: %w", errors.Join(err, packets.Close(), listener.Close()))
	}
	s := &Server{
		records: records{store: store, namespace: namespace, ttl: uint32(opts.TTL / time.Second)},
		addr:    addr,
		udp:     &mdns.Server{PacketConn: packets},
		tcp:     &mdns.Server{Listener: listener},
	}
	s.close = sync.OnceValue(s.shutdown)

	var started sync.WaitGroup
	for _, server := range []*mdns.Server{s.udp, s.tcp} {
		server.Handler = s
		server.MsgAcceptFunc = s.accept
		started.Add(1)
		server.NotifyStartedFunc = started.Done
		s.serving.Go(func() {
			// It ends without an error when it is shut down, and has no other reason
			// to end: what goes wrong with one packet is that packet's affair.
			_ = server.ActivateAndServe()
		})
	}
	// Shutting down a server that has not quite started does nothing.
	started.Wait()
	s.unwatch = context.AfterFunc(ctx, func() { _ = s.close() })

	return s, nil
}

// open takes the same port for both, which is not always at the first try when any
// free one will do.
func open(ctx context.Context, addr netip.AddrPort) (net.PacketConn, net.Listener, error) {
	var config net.ListenConfig
	const tries = 10
	for try := 1; ; try++ {
		listener, err := config.Listen(ctx, "tcp", addr.String())
		if err != nil {
			return nil, nil, err
		}
		packets, err := config.ListenPacket(ctx, "udp", listener.Addr().String())
		if err == nil {
			return packets, listener, nil
		}
		err = errors.Join(err, listener.Close())
		if addr.Port() != 0 || try == tries || !errors.Is(err, syscall.EADDRINUSE) {
			return nil, nil, err
		}
	}
}

// Addr is the address that it listens on, for UDP and TCP.
func (s *Server) Addr() netip.AddrPort { return s.addr }

// Queries counts the queries that have arrived, answered or not.
func (s *Server) Queries() int64 { return s.queries.Load() }

// SetDown makes the server lose every query, as an overloaded or unreachable one
// does: no answer, and no error either. A TCP connection still opens.
func (s *Server) SetDown(down bool) { s.down.Store(down) }

// Close ends the server and waits until nothing of it runs. It is safe to call more
// than once.
func (s *Server) Close() error {
	s.unwatch()

	return s.close()
}

func (s *Server) shutdown() error {
	err := errors.Join(s.udp.Shutdown(), s.tcp.Shutdown())
	s.serving.Wait()
	if err != nil {
		return fmt.Errorf("dns: %w", err)
	}

	return nil
}

// accept sees the header of each packet before the rest of it is looked at.
func (s *Server) accept(header mdns.Header) mdns.MsgAcceptAction {
	if s.down.Load() {
		s.queries.Add(1)

		return mdns.MsgIgnore
	}

	return mdns.DefaultMsgAcceptFunc(header)
}

// ServeDNS answers one query.
func (s *Server) ServeDNS(w mdns.ResponseWriter, query *mdns.Msg) {
	s.queries.Add(1)
	reply := s.records.answer(query)
	reply.Truncate(sizeLimit(w.RemoteAddr(), query))
	// A client that did not wait asks again.
	_ = w.WriteMsg(reply)
}

// sizeLimit is how many bytes the client can take: over UDP 512, or what it says by
// EDNS0 (RFC 6891).
func sizeLimit(client net.Addr, query *mdns.Msg) int {
	if _, isUDP := client.(*net.UDPAddr); !isUDP {
		return mdns.MaxMsgSize
	}
	if edns := query.IsEdns0(); edns != nil {
		return max(mdns.MinMsgSize, int(edns.UDPSize()))
	}

	return mdns.MinMsgSize
}
