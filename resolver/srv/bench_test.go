package srv

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/miekg/dns"
	"google.golang.org/grpc/resolver"
)

// BenchmarkLookup is one look-up at a real server on 127.0.0.1 up to UpdateState: the
// server's own work is part of it. Up to 10 records fit into a packet with EDNS0, the rest
// comes over TCP.
func BenchmarkLookup(b *testing.B) {
	for _, records := range []int{10, 100, 600} {
		b.Run(fmt.Sprintf("records=%d", records), func(b *testing.B) {
			r := bench(b, serve(b, manyPods(records)))
			for b.Loop() {
				r.last = result{}
				found, err := r.lookUp(b.Context())
				if r.take(found, err); len(r.last.endpoints) != records {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkAnswer is what is done with a packet once it is there, up to UpdateState.
func BenchmarkAnswer(b *testing.B) {
	for _, records := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("records=%d", records), func(b *testing.B) {
			r := bench(b, first)
			query := new(dns.Msg).SetQuestion(whole, dns.TypeSRV)
			packet := packed(b, query, records)
			b.ReportAllocs()
			for b.Loop() {
				r.last = result{}
				reply, err := readReply(packet, query)
				if err != nil {
					b.Fatal(err)
				}
				found, err := readSRV(reply)
				if err != nil {
					b.Fatal(err)
				}
				l := lookup{query: whole}
				done, err := l.endpoints(b.Context(), whole, found)
				if r.take(done, err); len(r.last.endpoints) != records {
					b.Fatal(err)
				}
			}
		})
	}
}

func bench(b *testing.B, server string) *srvResolver {
	b.Helper()
	config, err := Config{Server: server, ResolvConf: "no/such/file", Logger: quiet}.complete()
	if err != nil {
		b.Fatal(err)
	}

	return &srvResolver{
		target: Target{Name: "rng.test.", Port: "grpc"}, config: config, exchange: exchangeOverNetwork,
		random: rand.Float64, cc: discard{}, logger: config.Logger,
	}
}

// discard is a channel that takes every state.
type discard struct{ resolver.ClientConn }

func (discard) UpdateState(resolver.State) error { return nil }
func (discard) ReportError(error)                {}

// packed is an answer with so many records and their addresses. With names short enough,
// 1,000 fit into 64 KB.
func packed(b *testing.B, query *dns.Msg, records int) []byte {
	b.Helper()
	reply := new(dns.Msg).SetReply(query)
	reply.Compress = true
	for i := range records {
		host := fmt.Sprintf("pod-%d.test.", i)
		ip := netip.AddrFrom4([4]byte{10, 244, byte(i / 256), byte(i)}).AsSlice()
		reply.Answer = append(reply.Answer, &dns.SRV{
			Hdr: dns.RR_Header{Name: whole, Rrtype: dns.TypeSRV, Class: dns.ClassINET, Ttl: 30}, Weight: 1, Port: 8081, Target: host,
		})
		reply.Extra = append(reply.Extra, &dns.A{Hdr: dns.RR_Header{Name: host, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 30}, A: ip})
	}
	packet, err := reply.Pack()
	if err != nil {
		b.Fatal(err)
	}

	return packet
}
