package srv

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

const (
	first  = "10.0.0.1:53"
	second = "10.0.0.2:53"
)

func twoServers(n *fakeNetwork) *servers {
	return &servers{
		settings: settings{servers: []string{first, second}, timeout: 5 * time.Second, attempts: 2},
		exchange: n.exchange,
	}
}

var good = zone("x.test. 30 IN A 10.1.0.1")

func TestTheNextServerIsAskedWhenOneDoesNotKnow(t *testing.T) {
	referral := func(_ string, query *dns.Msg) *dns.Msg {
		reply := new(dns.Msg).SetReply(query)
		reply.RecursionAvailable = true
		reply.Ns = []dns.RR{&dns.NS{Hdr: dns.RR_Header{Name: "test.", Rrtype: dns.TypeNS, Class: dns.ClassINET}, Ns: "ns.test."}}

		return reply
	}
	for name, test := range map[string]struct {
		first handler
		after time.Duration
	}{
		"SERVFAIL":           {fails(dns.RcodeServerFailure), 0},
		"REFUSED":            {fails(dns.RcodeRefused), 0},
		"NOTIMP":             {fails(dns.RcodeNotImplemented), 0},
		"an unknown RCODE":   {fails(3841), 0},
		"a lame server":      {fails(dns.RcodeSuccess), 0},
		"a referral":         {referral, 0},
		"no answer":          {silent, 5 * time.Second},
		"connection refused": {nil, 0},
		"cut short even by TCP": {func(_ string, query *dns.Msg) *dns.Msg {
			reply := good("", query)
			reply.Truncated = true

			return reply
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork()
				if test.first != nil {
					n.set(first, test.first)
				}
				n.set(second, good)
				began := time.Now()
				reply, err := twoServers(n).ask(t.Context(), "x.test.", dns.TypeA)
				if err != nil || len(reply.Answer) != 1 {
					t.Fatalf("%v, %v", reply, err)
				}
				if took := time.Since(began); took != test.after {
					t.Errorf("it took %s, want %s", took, test.after)
				}
			})
		})
	}
}

func TestAnAnswerThatThereIsNothingIsAnAnswer(t *testing.T) {
	for _, h := range []handler{zone(), zone("x.test. 30 IN TXT no-address")} {
		n := newNetwork()
		n.set(first, h)
		n.set(second, good)
		if reply, err := twoServers(n).ask(t.Context(), "x.test.", dns.TypeA); err != nil || len(reply.Answer) != 0 {
			t.Errorf("%v, %v", reply, err)
		}
		if asked := n.questions(); len(asked) != 1 {
			t.Errorf("it asked %q", asked)
		}
	}
}

func TestAllServersAreAskedAsOftenAsResolvConfSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.set(first, silent)
		n.set(second, fails(dns.RcodeServerFailure))
		began := time.Now()
		_, err := twoServers(n).ask(t.Context(), "x.test.", dns.TypeA)
		want := "x.test. A: 10.0.0.1:53: no answer within 5s; 10.0.0.2:53: SERVFAIL"
		if err == nil || err.Error() != want || errors.Is(err, errUnanswered) {
			t.Errorf("%v, want %s", err, want)
		}
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("it took %s", took)
		}
		ask := func(server string) string { return "udp " + server + " x.test. A" }
		if diff := cmp.Diff([]string{ask(first), ask(second), ask(first), ask(second)}, n.questions()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestServersThatAreAllAwayAreToldFromThoseThatFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.set(first, silent)
		_, err := twoServers(n).ask(t.Context(), "x.test.", dns.TypeA)
		if !errors.Is(err, errUnanswered) || !strings.Contains(err.Error(), "no answer within 5s; 10.0.0.2:53: connection refused") {
			t.Error(err)
		}
	})
}

func TestRotateBeginsAtAnotherServer(t *testing.T) {
	n := newNetwork()
	n.set(first, good)
	n.set(second, good)
	s := twoServers(n)
	s.first = 7
	if _, err := s.ask(t.Context(), "x.test.", dns.TypeA); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"udp 10.0.0.2:53 x.test. A"}, n.questions()); diff != "" {
		t.Error(diff)
	}
}

func TestATruncatedAnswerIsAskedForOverTCP(t *testing.T) {
	n := newNetwork()
	n.set(first, func(network string, query *dns.Msg) *dns.Msg {
		reply := good(network, query)
		if network == "udp" {
			reply.Truncated, reply.Answer = true, nil
		}

		return reply
	})
	reply, err := twoServers(n).ask(t.Context(), "x.test.", dns.TypeA)
	if err != nil || len(reply.Answer) != 1 {
		t.Fatalf("%v, %v", reply, err)
	}
	if diff := cmp.Diff([]string{"udp 10.0.0.1:53 x.test. A", "tcp 10.0.0.1:53 x.test. A"}, n.questions()); diff != "" {
		t.Error(diff)
	}
}

func TestAServerThatDoesNotKnowEDNSIsAskedWithoutIt(t *testing.T) {
	n := newNetwork()
	n.set(first, func(network string, query *dns.Msg) *dns.Msg {
		switch edns := query.IsEdns0(); {
		case edns == nil:
			return good(network, query)
		case edns.UDPSize() != 1232:
			t.Errorf("it asks for %d octets", edns.UDPSize())
		}

		return new(dns.Msg).SetRcode(query, dns.RcodeFormatError)
	})
	if reply, err := twoServers(n).ask(t.Context(), "x.test.", dns.TypeA); err != nil || len(reply.Answer) != 1 {
		t.Errorf("%v, %v", reply, err)
	}
}

func TestALookUpThatIsCalledOffEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.set(first, silent)
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		began := time.Now()
		_, err := twoServers(n).ask(ctx, "x.test.", dns.TypeA)
		if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took != 7*time.Second {
			t.Errorf("%v after %s", err, took)
		}
	})
}
