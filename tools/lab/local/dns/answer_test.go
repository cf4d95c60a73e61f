package dns

import (
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	mdns "github.com/miekg/dns"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
)

func TestTheAddressesOfAName(t *testing.T) {
	r := recordsOf(t)
	for name, test := range map[string]struct {
		name string
		kind uint16
		want []string
	}{
		"a Service with a virtual IP":      {"rng.clusterip.svc", mdns.TypeA, []string{"127.8.0.1"}},
		"a headless Service: ready ones":   {"rng-headless.dns.svc", mdns.TypeA, []string{"127.1.0.1", "127.1.0.2", "127.1.0.5"}},
		"endpoints published before ready": {"early.dns.svc", mdns.TypeA, []string{"127.1.0.3"}},
		"endpoints without ports":          {"portless.dns.svc", mdns.TypeA, []string{"127.1.0.8"}},
		"an endpoint, by its address":      {"127-1-0-5.rng-headless.dns.svc", mdns.TypeA, []string{"127.1.0.5"}},
		"an endpoint, by its hostname":     {"rng-0.named.dns.svc", mdns.TypeA, []string{"127.1.0.6"}},
		"an endpoint of a virtual IP":      {"127-1-0-1.rng.clusterip.svc", mdns.TypeA, []string{"127.1.0.1"}},
		"a named port":                     {"_grpc._tcp.rng-headless.dns.svc", mdns.TypeA, []string{"127.1.0.1", "127.1.0.2", "127.1.0.5"}},
		"the IPv4 half of two":             {"dual.dns.svc", mdns.TypeA, []string{"127.1.0.7"}},
		"the IPv6 half of two":             {"dual.dns.svc", mdns.TypeAAAA, []string{"fd00::", "fd00::7"}},
		"an IPv6 endpoint":                 {"fd00--7.dual.dns.svc", mdns.TypeAAAA, []string{"fd00::7"}},
		"an IPv6 endpoint that ends in :":  {"fd00--0.dual.dns.svc", mdns.TypeAAAA, []string{"fd00::"}},
		"a name in capitals":               {"RNG.ClusterIP.SVC", mdns.TypeA, []string{"127.8.0.1"}},
	} {
		reply := r.answer(ask(test.name+".cluster.local.", test.kind))
		var got []string
		for _, record := range reply.Answer {
			got = append(got, strings.Fields(record.String())[4])
			if record.Header().Name != test.name+".cluster.local." {
				t.Errorf("%s: the owner of a record is %s", name, record.Header().Name)
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(test.want, got); diff != "" || reply.Rcode != mdns.RcodeSuccess || !reply.Authoritative {
			t.Errorf("%s: %s (-want +got):\n%s", name, mdns.RcodeToString[reply.Rcode], diff)
		}
	}
}

func TestANameThatExistsWithoutSuchRecordsIsNoData(t *testing.T) {
	r := recordsOf(t)
	for name, query := range map[string]*mdns.Msg{
		"AAAA of IPv4 endpoints":  ask("rng-headless.dns.svc.cluster.local.", mdns.TypeAAAA),
		"AAAA of a virtual IP":    ask("rng.clusterip.svc.cluster.local.", mdns.TypeAAAA),
		"TXT of a Service":        ask("rng.clusterip.svc.cluster.local.", mdns.TypeTXT),
		"ANY of a Service":        ask("rng.clusterip.svc.cluster.local.", mdns.TypeANY),
		"SRV without ports":       ask("portless.dns.svc.cluster.local.", mdns.TypeSRV),
		"a namespace":             ask("dns.svc.cluster.local.", mdns.TypeA),
		"a namespace, empty":      ask("empty.svc.cluster.local.", mdns.TypeA),
		"svc itself":              ask("svc.cluster.local.", mdns.TypeA),
		"the domain itself":       ask("cluster.local.", mdns.TypeA),
		"AAAA of a relative name": ask("rng-headless.", mdns.TypeAAAA),
	} {
		reply := r.answer(query)
		if reply.Rcode != mdns.RcodeSuccess || len(reply.Answer) != 0 {
			t.Errorf("%s: got %s with %v, want NODATA", name, mdns.RcodeToString[reply.Rcode], reply.Answer)
		}
		wantAuthority(t, name, reply)
	}
}

func TestANameThatDoesNotExistIsNXDomain(t *testing.T) {
	r := recordsOf(t)
	for what, name := range map[string]string{
		"another Service":                "nobody.dns.svc",
		"a Service of another namespace": "rng.dns.svc",
		"another namespace":              "rng.nowhere.svc",
		"a namespace that is not there":  "nowhere.svc",
		"nothing ready":                  "idle.dns.svc",
		"a virtual IP still to come":     "pending.clusterip.svc",
		"an endpoint that is not ready":  "127-1-0-3.rng-headless.dns.svc",
		"another endpoint":               "127-1-0-77.rng-headless.dns.svc",
		"another port":                   "_metrics._tcp.rng-headless.dns.svc",
		"another protocol":               "_grpc._udp.rng-headless.dns.svc",
		"a port without underscores":     "grpc.tcp.rng-headless.dns.svc",
		"too many labels":                "a.b.c.rng-headless.dns.svc",
		"pods as such":                   "127-1-0-1.dns.pod",
		"something else":                 "dns",
	} {
		reply := r.answer(ask(name+".cluster.local.", mdns.TypeA))
		if reply.Rcode != mdns.RcodeNameError || len(reply.Answer) != 0 {
			t.Errorf("%s: got %s with %v, want NXDOMAIN", what, mdns.RcodeToString[reply.Rcode], reply.Answer)
		}
		wantAuthority(t, what, reply)
	}
}

func TestANamedPortHasAnSRVRecordForEachEndpoint(t *testing.T) {
	reply := recordsOf(t).answer(ask("_grpc._tcp.rng-headless.dns.svc.cluster.local.", mdns.TypeSRV))
	const name = "_grpc._tcp.rng-headless.dns.svc.cluster.local. 30 IN SRV 0 25 18081 "
	// The weight is 25, not 33, as with CoreDNS: one endpoint stands in two slices.
	wantRecords(t, reply.Answer,
		name+"127-1-0-1.rng-headless.dns.svc.cluster.local.",
		name+"127-1-0-2.rng-headless.dns.svc.cluster.local.",
		name+"127-1-0-5.rng-headless.dns.svc.cluster.local.")
	wantRecords(t, reply.Extra,
		"127-1-0-1.rng-headless.dns.svc.cluster.local. 30 IN A 127.1.0.1",
		"127-1-0-2.rng-headless.dns.svc.cluster.local. 30 IN A 127.1.0.2",
		"127-1-0-5.rng-headless.dns.svc.cluster.local. 30 IN A 127.1.0.5")
}

func TestANamedPortOfAVirtualIPIsTheServicesOwn(t *testing.T) {
	reply := recordsOf(t).answer(ask("_http-admin._tcp.rng.clusterip.svc.cluster.local.", mdns.TypeSRV))
	wantRecords(t, reply.Answer, "_http-admin._tcp.rng.clusterip.svc.cluster.local. 30 IN SRV 0 100 8080 rng.clusterip.svc.cluster.local.")
	wantRecords(t, reply.Extra, "rng.clusterip.svc.cluster.local. 30 IN A 127.8.0.1")
}

func TestTheDomainSaysWhichSpecificationItFollows(t *testing.T) {
	reply := recordsOf(t).answer(ask("dns-version.cluster.local.", mdns.TypeTXT))
	wantRecords(t, reply.Answer, `dns-version.cluster.local. 30 IN TXT "1.1.0"`)
}

func TestTheDomainHasAnSOARecord(t *testing.T) {
	reply := recordsOf(t).answer(ask("cluster.local.", mdns.TypeSOA))
	wantRecords(t, reply.Answer, "cluster.local. 30 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 30")
}

func TestARelativeNameIsCompletedAsInAPodOfTheNamespace(t *testing.T) {
	r := recordsOf(t)
	for relative, whole := range map[string]string{
		"early.":             "early.dns.svc.cluster.local.",
		"early.dns.":         "early.dns.svc.cluster.local.",
		"early.dns.svc.":     "early.dns.svc.cluster.local.",
		"rng.clusterip.":     "rng.clusterip.svc.cluster.local.",
		"rng.clusterip.svc.": "rng.clusterip.svc.cluster.local.",
		"rng-0.named.":       "rng-0.named.dns.svc.cluster.local.",
	} {
		reply := r.answer(ask(relative, mdns.TypeA))
		if len(reply.Answer) != 2 {
			t.Errorf("%s: got %v, want a CNAME and an address", relative, reply)
			continue
		}
		wantRecords(t, reply.Answer[:1], relative+" 30 IN CNAME "+whole)
		if owner := reply.Answer[1].Header().Name; owner != whole {
			t.Errorf("%s: the address is that of %s, want %s", relative, owner, whole)
		}
	}
	// A Service of another namespace must be named with it.
	if reply := r.answer(ask("rng.", mdns.TypeA)); reply.Rcode != mdns.RcodeNameError {
		t.Errorf("rng. without its namespace: got %v, want NXDOMAIN", reply)
	}
}

func TestNamesOfElsewhereDoNotExist(t *testing.T) {
	r := recordsOf(t)
	// The last two are what the search list of a machine may make of a relative name.
	for _, name := range []string{"example.com.", "cluster.local.example.com.", "rng-headless.lan.", "rng-headless.corp.example.com."} {
		reply := r.answer(ask(name, mdns.TypeA))
		if reply.Rcode != mdns.RcodeNameError || reply.Authoritative || len(reply.Ns) != 0 {
			t.Errorf("%s: got %v, want NXDOMAIN in nobody's name", name, reply)
		}
	}
}

func TestAQueryThatIsNotForUsIsRefused(t *testing.T) {
	r := recordsOf(t)
	chaos := ask("version.bind.", mdns.TypeTXT)
	chaos.Question[0].Qclass = mdns.ClassCHAOS
	update := ask("rng.dns.svc.cluster.local.", mdns.TypeA)
	update.Opcode = mdns.OpcodeUpdate
	two := ask("a.", mdns.TypeA)
	two.Question = append(two.Question, two.Question[0])
	newer := ask("rng.clusterip.svc.cluster.local.", mdns.TypeA).SetEdns0(1232, false)
	newer.IsEdns0().SetVersion(1)
	for name, test := range map[string]struct {
		query *mdns.Msg
		want  int
	}{
		"another class": {chaos, mdns.RcodeRefused},
		"the root":      {ask(".", mdns.TypeNS), mdns.RcodeRefused},
		"a transfer":    {ask("cluster.local.", mdns.TypeAXFR), mdns.RcodeRefused},
		"an update":     {update, mdns.RcodeNotImplemented},
		"no question":   {new(mdns.Msg), mdns.RcodeFormatError},
		"two questions": {two, mdns.RcodeFormatError},
		"a later EDNS":  {newer, mdns.RcodeBadVers},
	} {
		if got := r.answer(test.query).Rcode; got != test.want {
			t.Errorf("%s: got %s, want %s", name, mdns.RcodeToString[got], mdns.RcodeToString[test.want])
		}
	}
}

func TestEDNSIsAnsweredWithEDNS(t *testing.T) {
	r := recordsOf(t)
	query := ask("rng.clusterip.svc.cluster.local.", mdns.TypeA)
	if edns := r.answer(query).IsEdns0(); edns != nil {
		t.Errorf("without EDNS in the query, the answer has %v", edns)
	}
	query.SetEdns0(4096, true)
	if edns := r.answer(query).IsEdns0(); edns == nil || !edns.Do() || edns.Version() != 0 {
		t.Errorf("with EDNS in the query, the answer has %v", edns)
	}
}

func TestEachAddressIsFirstNowAndThen(t *testing.T) {
	r := recordsOf(t)
	first := make(map[string]bool)
	// That one of three is not first in 200 answers has a chance of 1 in 10^35.
	for range 200 {
		reply := r.answer(ask("rng-headless.dns.svc.cluster.local.", mdns.TypeA))
		first[reply.Answer[0].(*mdns.A).A.String()] = true
	}
	if len(first) != 3 {
		t.Errorf("only %v are ever first", first)
	}
}

func FuzzAnyPacketIsAnsweredOrDropped(f *testing.F) {
	for _, query := range []*mdns.Msg{
		ask("rng.clusterip.svc.cluster.local.", mdns.TypeA),
		ask("_grpc._tcp.rng-headless.dns.svc.cluster.local.", mdns.TypeSRV).SetEdns0(512, true),
		ask("rng-headless.", mdns.TypeAAAA),
		ask("cluster.local.", mdns.TypeSOA),
		ask(".", mdns.TypeANY),
		ask(`a\.b\000.`, mdns.TypeTXT),
		new(mdns.Msg),
	} {
		packet, err := query.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packet)
	}
	server := &Server{records: recordsOf(f)}
	f.Fuzz(func(t *testing.T, packet []byte) {
		var query mdns.Msg
		if query.Unpack(packet) != nil {
			return
		}
		w := &writer{}
		server.ServeDNS(w, &query)
		if w.reply == nil {
			t.Fatal("no reply")
		}
		packed, err := w.reply.Pack()
		if err != nil {
			t.Fatalf("the reply to %v cannot be packed: %v", &query, err)
		}
		limit := mdns.MinMsgSize
		if edns := query.IsEdns0(); edns != nil {
			limit = max(limit, int(edns.UDPSize()))
		}
		if len(packed) > limit {
			t.Errorf("the reply has %d bytes, and the client takes %d", len(packed), limit)
		}
		if !w.reply.Response || w.reply.Id != query.Id {
			t.Errorf("the reply %v is not one to %v", w.reply, &query)
		}
	})
}

// writer keeps what is sent to a client over UDP.
type writer struct {
	mdns.ResponseWriter

	reply *mdns.Msg
}

func (w *writer) RemoteAddr() net.Addr { return &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9} }

func (w *writer) WriteMsg(reply *mdns.Msg) error {
	w.reply = reply
	return nil
}

// recordsOf are those of the populated store, for the namespace "dns".
func recordsOf(t testing.TB) records {
	return records{store: populated(t), namespace: "dns", ttl: 30}
}

// wantRecords compares records, in any order, in the usual text form.
func wantRecords(t *testing.T, records []mdns.RR, want ...string) {
	t.Helper()
	var got []string
	for _, record := range records {
		got = append(got, strings.Join(strings.Fields(record.String()), " "))
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

// wantAuthority is what makes an answer without records good for its TTL (RFC 2308).
func wantAuthority(t *testing.T, name string, reply *mdns.Msg) {
	t.Helper()
	if len(reply.Ns) != 1 || reply.Ns[0].Header().Rrtype != mdns.TypeSOA || !reply.Authoritative {
		t.Errorf("%s: the authority is %v, want an SOA record", name, reply.Ns)
	}
}

func TestAnEndpointInTwoSlicesIsOneRecord(t *testing.T) {
	store := populated(t)
	slice, _ := apiserver.Get[*discoveryv1.EndpointSlice](store, "dns", "rng-headless-2")
	slice.Name = "rng-headless-3"
	put(t, store, slice)
	reply := records{store: store, namespace: "dns", ttl: 30}.answer(ask("rng-headless.dns.svc.cluster.local.", mdns.TypeA))
	if len(reply.Answer) != 3 {
		t.Errorf("got %v, want each of 3 addresses once", reply.Answer)
	}
}
