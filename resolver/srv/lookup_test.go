package srv

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// one answers as a single server that is asked once, and completes names as a pod does.
func one(h handler) (*fakeNetwork, *lookup) {
	n := newNetwork()
	n.set(first, h)

	return n, &lookup{
		servers: &servers{
			settings: settings{
				servers: []string{first}, search: []string{"a.test", "b.test"}, ndots: 5, timeout: time.Second, attempts: 1,
			},
			exchange: n.exchange,
		},
		query: "_grpc._tcp.rng",
	}
}

// by gives each name a handler, and NXDOMAIN to the rest.
func by(names map[string]handler) handler {
	return func(network string, query *dns.Msg) *dns.Msg {
		if h, ok := names[query.Question[0].Name]; ok {
			return h(network, query)
		}

		return zone()(network, query)
	}
}

const (
	inA = "_grpc._tcp.rng.a.test."
	inB = "_grpc._tcp.rng.b.test."
)

var zoneB = zone(inB+" 30 IN SRV 0 50 8081 pod.b.test.", "pod.b.test. 30 IN A 10.2.0.1")

func TestTheFirstNameOfTheSearchListThatHasRecordsIsTaken(t *testing.T) {
	n, l := one(by(map[string]handler{inB: zoneB, "_grpc._tcp.rng.": fails(dns.RcodeServerFailure)}))
	got, err := l.run(t.Context())
	if err != nil || describe(got.endpoints) != "10.2.0.1:8081" || got.name != inB || got.ttl != 30*time.Second || got.partial != nil {
		t.Errorf("%+v, %v", got, err)
	}
	want := []string{"udp 10.0.0.1:53 " + inA + " SRV", "udp 10.0.0.1:53 " + inB + " SRV"}
	if diff := cmp.Diff(want, n.questions()); diff != "" {
		t.Error(diff)
	}
}

func TestNothingIsThereOnlyWhenEveryNameSaysSo(t *testing.T) {
	_, l := one(by(map[string]handler{inA: zone(inA + " 30 IN TXT no-srv")}))
	got, err := l.run(t.Context())
	want := "_grpc._tcp.rng has no SRV records (asked for _grpc._tcp.rng.a.test., _grpc._tcp.rng.b.test., _grpc._tcp.rng.)"
	if err != nil || got.empty != want || got.ttl != 20*time.Second {
		t.Errorf("%+v, %v", got, err)
	}

	for _, name := range []string{inA, inB, "_grpc._tcp.rng."} {
		_, l := one(by(map[string]handler{name: fails(dns.RcodeServerFailure)}))
		got, err := l.run(t.Context())
		if err == nil || !strings.Contains(err.Error(), name+" SRV: 10.0.0.1:53: SERVFAIL") {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestAWholeNameIsTheOnlyOneAskedFor(t *testing.T) {
	n, l := one(by(nil))
	l.query += ".c.test."
	got, err := l.run(t.Context())
	if err != nil || got.empty != "_grpc._tcp.rng.c.test. has no SRV records" || len(n.questions()) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestAnotherNameIsNotTakenBecauseTheOneInUseFails(t *testing.T) {
	failing := by(map[string]handler{inA: fails(dns.RcodeServerFailure), inB: zoneB})
	_, l := one(failing)
	if got, err := l.run(t.Context()); err != nil || got.name != inB || got.partial == nil {
		t.Errorf("with nothing in use: %+v, %v", got, err)
	}
	l.last = result{name: inA}
	if got, err := l.run(t.Context()); err == nil {
		t.Errorf("with another in use: %+v", got)
	}
	l.last = result{name: inB}
	if got, err := l.run(t.Context()); err != nil || got.name != inB {
		t.Errorf("with this in use: %+v, %v", got, err)
	}
}

func TestServersThatAreAwayAreNotAskedForTheOtherNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, l := one(silent)
		if _, err := l.run(t.Context()); !errors.Is(err, errUnanswered) {
			t.Error(err)
		}
		if asked := n.questions(); len(asked) != 1 {
			t.Errorf("it asked %q", asked)
		}
	})
}

func TestATargetOfARootSaysThatThereIsNoSuchService(t *testing.T) {
	root := zone(inA + " 60 IN SRV 0 0 0 .")
	_, l := one(by(map[string]handler{inA: root, inB: zoneB}))
	got, err := l.run(t.Context())
	if err != nil || !strings.Contains(got.empty, inA+" says that there is no such service") || len(got.endpoints) != 0 {
		t.Errorf("%+v, %v", got, err)
	}

	_, l = one(by(map[string]handler{inA: fails(dns.RcodeServerFailure), inB: zone(inB + " 60 IN SRV 0 0 0 .")}))
	if got, err := l.run(t.Context()); err == nil {
		t.Errorf("after a failure: %+v", got)
	}
}

func TestAddressesThatDoNotComeWithTheRecordsAreLookedUp(t *testing.T) {
	lines := []string{
		inA + " 30 IN SRV 0 50 8081 one.test.", inA + " 30 IN SRV 0 50 8082 two.test.", inA + " 30 IN SRV 0 50 8083 gone.test.",
		"one.test. 25 IN A 10.1.0.1", "one.test. 24 IN AAAA 2001:db8::1", "two.test. 26 IN A 10.1.0.2",
	}
	n, l := one(func(network string, query *dns.Msg) *dns.Msg {
		reply := zone(lines...)(network, query)
		reply.Extra = nil

		return reply
	})
	got, err := l.run(t.Context())
	want := "[2001:db8::1]:8081+10.1.0.1:8081 10.1.0.2:8082"
	if err != nil || describe(got.endpoints) != want || got.partial != nil {
		t.Errorf("%s, %+v, %v, want %s", describe(got.endpoints), got, err, want)
	}
	// That gone.test has no address is good for 20 s, that two.test has no IPv6 is of no matter.
	if got.ttl != 20*time.Second {
		t.Errorf("good for %s", got.ttl)
	}
	if asked := n.questions(); len(asked) != 1+3*2 {
		t.Errorf("it asked %q", asked)
	}
}

func TestAddressesThatComeWithTheRecordsAreNotLookedUp(t *testing.T) {
	n, l := one(zone(inA+" 30 IN SRV 0 50 8081 one.test.", "one.test. 7 IN A 10.1.0.1"))
	got, err := l.run(t.Context())
	if asked := n.questions(); err != nil || describe(got.endpoints) != "10.1.0.1:8081" || got.ttl != 7*time.Second || len(asked) != 1 {
		t.Errorf("%+v, %v, asked %q", got, err, asked)
	}
}

func TestAHostThatCannotBeLookedUpKeepsItsAddresses(t *testing.T) {
	records := []string{inA + " 30 IN SRV 0 50 8081 one.test.", inA + " 30 IN SRV 0 50 8081 two.test."}
	names := map[string]handler{
		inA: zone(records...), "one.test.": zone("one.test. 30 IN A 10.1.0.1", "one.test. 30 IN AAAA 2001:db8::1"), "two.test.": zone("two.test. 30 IN A 10.1.0.2"),
	}
	_, l := one(by(names))
	var err error
	if l.last, err = l.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	names["one.test."] = fails(dns.RcodeServerFailure)
	names["two.test."] = zone("two.test. 30 IN A 10.1.0.3")
	got, err := l.run(t.Context())
	want := "[2001:db8::1]:8081+10.1.0.1:8081 10.1.0.3:8081"
	if err != nil || describe(got.endpoints) != want || got.partial == nil || !strings.Contains(got.partial.Error(), "one.test. A: 10.0.0.1:53: SERVFAIL") {
		t.Errorf("%s, %+v, %v, want %s", describe(got.endpoints), got, err, want)
	}

	l.last = result{}
	if got, err := l.run(t.Context()); err != nil || describe(got.endpoints) != "10.1.0.3:8081" || got.partial == nil {
		t.Errorf("without any known: %s, %v", describe(got.endpoints), err)
	}
	names["two.test."] = fails(dns.RcodeServerFailure)
	if got, err := l.run(t.Context()); err == nil {
		t.Errorf("with all unknown: %+v", got)
	}
}

func TestHostsWithoutAnyAddressAreNoEndpoints(t *testing.T) {
	_, l := one(zone(inA + " 30 IN SRV 0 50 8081 one.test."))
	got, err := l.run(t.Context())
	if err != nil || got.empty != "no target of the 1 SRV records of "+inA+" has an address" || got.ttl != 20*time.Second {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestOnlyTheLowestPriorityThatHasAddressesIsUsed(t *testing.T) {
	lines := []string{
		inA + " 30 IN SRV 10 50 8081 main.test.", inA + " 30 IN SRV 20 50 8081 spare.test.", inA + " 30 IN SRV 30 50 8081 last.test.",
		"spare.test. 30 IN A 10.2.0.1", "last.test. 30 IN A 10.3.0.1",
	}
	n, l := one(zone(lines...))
	if got, err := l.run(t.Context()); err != nil || describe(got.endpoints) != "10.2.0.1:8081" {
		t.Errorf("without the main one: %s, %v", describe(got.endpoints), err)
	}
	n.set(first, zone(append(lines, "main.test. 30 IN A 10.1.0.1")...))
	if got, err := l.run(t.Context()); err != nil || describe(got.endpoints) != "10.1.0.1:8081" {
		t.Errorf("with the main one: %s, %v", describe(got.endpoints), err)
	}
}

func TestAnAliasOfTheNameIsFollowed(t *testing.T) {
	alias := func(target string) dns.RR {
		return &dns.CNAME{Hdr: dns.RR_Header{Name: inA, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: 9}, Target: target}
	}
	_, l := one(by(map[string]handler{inA: func(network string, query *dns.Msg) *dns.Msg {
		asked := query.Copy()
		asked.Question[0].Name = inB
		reply := zoneB(network, asked)
		reply.Question = query.Question
		reply.Answer = append([]dns.RR{alias(strings.ToUpper(inB))}, reply.Answer...)

		return reply
	}}))
	if got, err := l.run(t.Context()); err != nil || describe(got.endpoints) != "10.2.0.1:8081" || got.ttl != 9*time.Second {
		t.Errorf("%s, %+v, %v", describe(got.endpoints), got, err)
	}

	_, l = one(by(map[string]handler{inA: func(_ string, query *dns.Msg) *dns.Msg {
		reply := new(dns.Msg).SetReply(query)
		reply.Answer = []dns.RR{alias(inA)}

		return reply
	}}))
	if _, err := l.run(t.Context()); !errors.Is(err, errAliasLoop) {
		t.Errorf("an alias of itself: %v", err)
	}
}
