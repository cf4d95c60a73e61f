package srv

import (
	"errors"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// reply is an answer to a question for the SRV records of q.test, of records as in a zone
// file: those after "--" are the authority's, those after another one additional.
func reply(t testing.TB, lines ...string) *dns.Msg {
	t.Helper()
	r := new(dns.Msg).SetReply(new(dns.Msg).SetQuestion("q.test.", dns.TypeSRV))
	r.Authoritative = true
	sections := []*[]dns.RR{&r.Answer, &r.Ns, &r.Extra}
	for _, line := range lines {
		if line == "--" {
			sections = sections[1:]

			continue
		}
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		*sections[0] = append(*sections[0], rr)
	}

	return r
}

func TestOnlyRecordsOfTheNameAndAddressesOfItsTargetsCount(t *testing.T) {
	got, err := readSRV(reply(t,
		"Q.test. 30 IN SRV 0 1 1 a.test.", "other.test. 1 IN SRV 0 1 2 a.test.", "q.test. 30 CH SRV 0 1 3 a.test.",
		"q.test. 30 IN SRV 0 1 0 portless.test.", "q.test. 30 IN SRV 0 1 4 .", "--", "--",
		"A.TEST. 20 IN A 10.0.0.1", "a.test. 30 IN AAAA 2001:db8::1", "a.test. 30 IN AAAA ::ffff:10.0.0.2", "a.test. 5 IN TXT x",
		"a.test. 1 IN A 0.0.0.0", "a.test. 1 IN AAAA ::", "other.test. 1 IN A 10.0.0.9", "portless.test. 1 IN A 10.0.0.8",
	))
	if err != nil || len(got.records) != 1 || got.records[0] != (record{weight: 1, port: 1, host: "a.test."}) || got.unavailable || got.ttl != 30*time.Second {
		t.Errorf("%+v, %v", got, err)
	}
	want := []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("10.0.0.2")}
	if len(got.hosts) != 1 || !slices.Equal(got.hosts["a.test."].list, want) || got.hosts["a.test."].ttl != 20*time.Second {
		t.Errorf("hosts %+v", got.hosts)
	}
}

func TestAnEmptyAnswerIsGoodForAsLongAsTheSOASays(t *testing.T) {
	const soa = "test. 60 IN SOA ns.test. hostmaster.test. 1 2 3 4 "
	for name, test := range map[string]struct {
		lines []string
		want  time.Duration
	}{
		"the minimum":              {[]string{"--", soa + "20"}, 20 * time.Second},
		"the TTL of the record":    {[]string{"--", soa + "90"}, 60 * time.Second},
		"without an SOA":           {nil, 0},
		"at the end of an alias":   {[]string{"q.test. 7 IN CNAME r.test.", "--", soa + "20"}, 7 * time.Second},
		"a TTL that is negative":   {[]string{"--", "test. 4294967295 IN SOA ns.test. hostmaster.test. 1 2 3 4 20"}, 0},
		"a minimum that is so too": {[]string{"--", soa + "2147483648"}, 0},
	} {
		got, err := readSRV(reply(t, test.lines...))
		if err != nil || len(got.records) != 0 || got.ttl != test.want {
			t.Errorf("%s: %+v, %v, want %s", name, got, err, test.want)
		}
		addresses, err := readAddresses(reply(t, test.lines...))
		if err != nil || len(addresses.list) != 0 || addresses.ttl != test.want {
			t.Errorf("%s: addresses %+v, %v, want %s", name, addresses, err, test.want)
		}
	}
}

func TestAnAnswerAboutSomethingElseDoesNotSayThatThereIsNothing(t *testing.T) {
	other := reply(t, "other.test. 30 IN SRV 0 1 1 a.test.")
	if _, err := readSRV(other); !errors.Is(err, errOffTopic) {
		t.Error(err)
	}
	if _, err := readAddresses(other); !errors.Is(err, errOffTopic) {
		t.Error(err)
	}
}

func TestAliasesThatLeadBackAreAnError(t *testing.T) {
	for _, lines := range [][]string{
		{"q.test. 7 IN CNAME q.test."},
		{"q.test. 7 IN CNAME r.test.", "r.test. 7 IN CNAME s.test.", "s.test. 7 IN CNAME r.test."},
	} {
		if _, err := readSRV(reply(t, lines...)); !errors.Is(err, errAliasLoop) {
			t.Errorf("%q: %v", lines, err)
		}
		if _, err := readAddresses(reply(t, lines...)); !errors.Is(err, errAliasLoop) {
			t.Errorf("%q: %v", lines, err)
		}
	}
}

func TestAddressesAtTheEndOfAnAliasAreTheHosts(t *testing.T) {
	got, err := readAddresses(reply(t, "r.test. 7 IN A 10.0.0.1", "q.test. 9 IN CNAME r.test.", "s.test. 1 IN A 10.0.0.2"))
	if err != nil || len(got.list) != 1 || got.ttl != 7*time.Second {
		t.Errorf("%+v, %v", got, err)
	}
}

// FuzzAnswer takes any bytes for what a server sent. All addresses of the endpoints must
// be of hosts that the records of the name name.
func FuzzAnswer(f *testing.F) {
	for _, lines := range [][]string{
		{"q.test. 30 IN SRV 0 50 8081 a.test.", "q.test. 30 IN SRV 1 50 8081 b.test.", "--", "--", "a.test. 30 IN A 10.0.0.1", "b.test. 30 IN AAAA 2001:db8::1"},
		{"q.test. 30 IN CNAME r.test.", "r.test. 30 IN CNAME s.test.", "s.test. 30 IN SRV 0 0 1 a.test.", "--", "--", "a.test. 30 IN A 10.0.0.1", "x.test. 30 IN A 10.0.0.2"},
		{"q.test. 30 IN SRV 0 0 0 ."}, {"q.test. 30 IN CNAME q.test."}, {"--", "test. 60 IN SOA a. b. 1 2 3 4 5"}, {"--", "test. 60 IN NS a."},
		{"q.test. 30 IN A 10.0.0.1", "q.test. 30 IN AAAA 2001:db8::1", "r.test. 30 IN A 10.0.0.2"},
	} {
		seed := reply(f, lines...)
		for _, compress := range []bool{false, true} {
			seed.Compress = compress
			packet, err := seed.Pack()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(packet)
			f.Add(packet[:len(packet)-3])
		}
	}
	query := new(dns.Msg).SetQuestion("q.test.", dns.TypeSRV)
	query.Id = 0x1234
	f.Fuzz(func(t *testing.T, packet []byte) {
		if _, err := readReply(packet, query); err == nil && (len(packet) < 12 || packet[0] != 0x12 || packet[1] != 0x34) {
			t.Fatal("it took an answer with another id")
		}
		if len(packet) < 12 {
			return
		}
		// No guess of the fuzzer is lost for its id, or for not being an answer.
		packet = slices.Clone(packet)
		packet[0], packet[1], packet[2] = 0x12, 0x34, packet[2]|0x80
		reply, err := readReply(packet, query)
		if err != nil || informs(reply) != nil {
			return
		}
		if asked := reply.Question[0]; !strings.EqualFold(asked.Name, "q.test.") {
			t.Fatalf("it took an answer about %q", asked.Name)
		}
		if found, err := readAddresses(reply); err == nil && (found.ttl < 0 || len(found.list) == 0 && found.ttl > math.MaxInt32*time.Second) {
			t.Fatalf("addresses %+v", found)
		}
		found, err := readSRV(reply)
		if err != nil {
			return
		}
		hosts := make(map[string][]netip.Addr)
		for host, addresses := range found.hosts {
			hosts[host] = addresses.list
		}
		allowed := allowed(reply)
		for _, endpoint := range endpointsOf(found.records, hosts) {
			if len(endpoint.Addresses) == 0 {
				t.Fatal("an endpoint without an address")
			}
			for _, address := range endpoint.Addresses {
				if !allowed[address.Addr] {
					t.Fatalf("%s is of no record of the name:\n%s", address.Addr, reply)
				}
			}
		}
	})
}

// allowed are the addresses that may come of a reply, found in the plainest way.
func allowed(reply *dns.Msg) map[string]bool {
	names := map[string]bool{"q.test.": true}
	for range reply.Answer {
		for _, rr := range reply.Answer {
			if alias, ok := rr.(*dns.CNAME); ok && names[strings.ToLower(alias.Hdr.Name)] {
				names[strings.ToLower(alias.Target)] = true
			}
		}
	}
	all := make(map[string]bool)
	for _, rr := range reply.Answer {
		srv, ok := rr.(*dns.SRV)
		if !ok || !names[strings.ToLower(srv.Hdr.Name)] {
			continue
		}
		for _, extra := range reply.Extra {
			if !strings.EqualFold(extra.Header().Name, srv.Target) {
				continue
			}
			if a, ok := extra.(*dns.A); ok {
				if ip, ok := netip.AddrFromSlice(a.A); ok {
					all[netip.AddrPortFrom(ip.Unmap(), srv.Port).String()] = true
				}
			}
			if aaaa, ok := extra.(*dns.AAAA); ok {
				if ip, ok := netip.AddrFromSlice(aaaa.AAAA); ok {
					all[netip.AddrPortFrom(ip.Unmap(), srv.Port).String()] = true
				}
			}
		}
	}

	return all
}
