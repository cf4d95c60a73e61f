package channel

import (
	"errors"
	"net"
	"testing"

	"github.com/miekg/dns"
)

// A DNS server that comes back in the middle of a look-up: the query for IPv4 fails, and the one for IPv6 is
// answered, by there being none. gRPC takes "not found" for a name that has lost all its addresses.
func TestALookUpOfWhichAPartFailsIsNoDenial(t *testing.T) {
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	answering := make(chan struct{})
	server := &dns.Server{
		PacketConn:        packets,
		NotifyStartedFunc: func() { close(answering) },
		Handler: dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
			answer := new(dns.Msg)
			answer.SetReply(query)
			answer.Authoritative = true
			if query.Question[0].Qtype == dns.TypeA {
				answer.Rcode = dns.RcodeServerFailure
			}
			_ = w.WriteMsg(answer) // the client asks again
		}),
	}
	done := make(chan error, 1)
	go func() { done <- server.ActivateAndServe() }()
	<-answering
	t.Cleanup(func() {
		if err := errors.Join(server.Shutdown(), <-done); err != nil {
			t.Error(err)
		}
	})

	_, err = DNS{Server: packets.LocalAddr().String()}.resolver().LookupHost(t.Context(), "rng-headless.test.")
	failure, ok := errors.AsType[*net.DNSError](err)
	if !ok || failure.IsNotFound || !failure.Temporary() {
		t.Errorf("the look-up ends with %v", err)
	}
}
