package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const deadline = 10 * time.Second

func TestAnswersGoOverUDPAndTCP(t *testing.T) {
	s := listen(t, populated(t), Options{})
	for _, network := range []string{"udp", "tcp"} {
		reply := exchange(t, s, network, ask("rng.clusterip.svc.cluster.local.", mdns.TypeA))
		wantRecords(t, reply.Answer, "rng.clusterip.svc.cluster.local. 30 IN A 127.8.0.1")
	}
	if got := s.Queries(); got != 2 {
		t.Errorf("Queries() = %d, want 2", got)
	}
}

func TestTheTTLIsAnOption(t *testing.T) {
	s := listen(t, populated(t), Options{TTL: 5 * time.Second})
	reply := exchange(t, s, "udp", ask("rng.clusterip.svc.cluster.local.", mdns.TypeA))
	wantRecords(t, reply.Answer, "rng.clusterip.svc.cluster.local. 5 IN A 127.8.0.1")
}

func TestATTLThatCannotBeIsRefused(t *testing.T) {
	for _, ttl := range []time.Duration{-time.Second, time.Millisecond, 1500 * time.Millisecond, 2 * time.Hour} {
		s, err := Listen(t.Context(), apiserver.NewStore(), "ns", netip.MustParseAddrPort("127.0.0.1:0"), Options{TTL: ttl})
		if err == nil {
			s.Close()
			t.Errorf("a TTL of %s was accepted", ttl)
		} else if !strings.Contains(err.Error(), ttl.String()) {
			t.Errorf("the error does not say %s: %v", ttl, err)
		}
	}
}

func TestAnAddressInUseIsRefused(t *testing.T) {
	s := listen(t, apiserver.NewStore(), Options{})
	again, err := Listen(t.Context(), apiserver.NewStore(), "ns", s.Addr(), Options{})
	if err == nil {
		again.Close()
		t.Fatal("two servers listen on one address")
	}
	if !strings.Contains(err.Error(), s.Addr().String()) {
		t.Errorf("the error does not name %s: %v", s.Addr(), err)
	}
}

func TestAnAnswerFollowsTheStoreAtOnce(t *testing.T) {
	store := populated(t)
	s := listen(t, store, Options{})
	const name = "rng-headless.dns.svc.cluster.local."
	if reply := exchange(t, s, "udp", ask(name, mdns.TypeA)); len(reply.Answer) != 3 {
		t.Fatalf("got %v, want 3 addresses", reply.Answer)
	}
	apiserver.Delete[*discoveryv1.EndpointSlice](store, "dns", "rng-headless-2")
	if reply := exchange(t, s, "udp", ask(name, mdns.TypeA)); len(reply.Answer) != 2 {
		t.Errorf("got %v, want 2 addresses", reply.Answer)
	}
	apiserver.Delete[*discoveryv1.EndpointSlice](store, "dns", "rng-headless-1")
	if reply := exchange(t, s, "udp", ask(name, mdns.TypeA)); reply.Rcode != mdns.RcodeNameError {
		t.Errorf("got %s, want NXDOMAIN: nothing is ready any more", mdns.RcodeToString[reply.Rcode])
	}
}

func TestAServerThatIsDownDoesNotAnswer(t *testing.T) {
	s := listen(t, populated(t), Options{})
	query := ask("rng.clusterip.svc.cluster.local.", mdns.TypeA)
	s.SetDown(true)
	for _, network := range []string{"udp", "tcp"} {
		client := mdns.Client{Net: network, Timeout: 50 * time.Millisecond}
		if reply, _, err := client.Exchange(query, s.Addr().String()); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: got %v and error %v, want silence", network, reply, err)
		}
	}
	for end := time.Now().Add(deadline); s.Queries() != 2; { // a client may give up before its query is looked at
		if time.Now().After(end) {
			t.Fatalf("Queries() = %d, want 2: they arrived", s.Queries())
		}
	}
	s.SetDown(false)
	if reply := exchange(t, s, "udp", query); len(reply.Answer) != 1 {
		t.Errorf("up again, it answers %v", reply)
	}
}

func TestAnAnswerTooLongForAPacketIsTruncatedAndWholeOverTCP(t *testing.T) {
	store, _ := many(t, 100)
	s := listen(t, store, Options{})

	query := ask("rng-headless.dns.svc.cluster.local.", mdns.TypeA)
	for size, query := range map[int]*mdns.Msg{mdns.MinMsgSize: query, 1232: query.Copy().SetEdns0(1232, false)} {
		reply := exchange(t, s, "udp", query)
		reply.Compress = true // as it was on the wire
		packed, err := reply.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if !reply.Truncated || len(reply.Answer) == 0 || len(packed) > size {
			t.Errorf("UDP, %d bytes: truncated is %t, with %d records in %d bytes", size, reply.Truncated, len(reply.Answer), len(packed))
		}
	}
	if reply := exchange(t, s, "tcp", query); reply.Truncated || len(reply.Answer) != 100 {
		t.Errorf("TCP: truncated is %t, with %d records, want all 100", reply.Truncated, len(reply.Answer))
	}
	if reply := exchange(t, s, "udp", query.Copy().SetEdns0(4096, false)); reply.Truncated || len(reply.Answer) != 100 {
		t.Errorf("a large packet: truncated is %t, with %d records, want all 100", reply.Truncated, len(reply.Answer))
	}
}

func TestGarbageIsAnsweredWithAnErrorAndHarmsNobody(t *testing.T) {
	s := listen(t, populated(t), Options{})
	conn, err := net.Dial("udp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(deadline))
	for _, garbage := range []string{"", "\x00", "not DNS at all, but long enough for a header"} {
		if _, err := conn.Write([]byte(garbage)); err != nil {
			t.Fatal(err)
		}
	}
	// A header that promises a question, and none follows.
	if _, err := conn.Write([]byte{0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	var reply mdns.Msg
	for buffer := make([]byte, 512); reply.Id != 0xabcd; {
		n, err := conn.Read(buffer)
		if err != nil {
			t.Fatalf("waiting for the answer to a half query: %v", err)
		}
		if err := reply.Unpack(buffer[:n]); err != nil {
			t.Fatal(err)
		}
	}
	if reply.Rcode != mdns.RcodeFormatError {
		t.Errorf("got %s, want FORMERR", mdns.RcodeToString[reply.Rcode])
	}
	if reply := exchange(t, s, "udp", ask("rng.clusterip.svc.cluster.local.", mdns.TypeA)); len(reply.Answer) != 1 {
		t.Errorf("after the garbage it answers %v", reply)
	}
}

func TestItEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s, err := Listen(ctx, apiserver.NewStore(), "ns", netip.MustParseAddrPort("127.0.0.1:0"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	s.serving.Wait()
	if err := s.Close(); err != nil {
		t.Errorf("Close after the context: %v", err)
	}
	again, err := Listen(t.Context(), apiserver.NewStore(), "ns", s.Addr(), Options{})
	if err != nil {
		t.Fatalf("its address is not free: %v", err)
	}
	again.Close()
}

// populated is a store with a namespace of each sort.
func populated(t testing.TB) *apiserver.Store {
	t.Helper()
	store := apiserver.NewStore()
	yes, no := true, false
	put(t, store, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "empty"}})
	put(t, store, service("clusterip", "rng", "127.8.0.1"))
	put(t, store, slice("clusterip", "rng", "1", endpoints("127.1.0.1", "127.1.0.2")...))
	put(t, store, service("clusterip", "pending", ""))

	put(t, store, service("dns", "rng-headless", corev1.ClusterIPNone))
	mixed := endpoints("127.1.0.1", "127.1.0.2", "127.1.0.3", "127.1.0.4")
	mixed[0].Conditions.Ready = nil // unknown: to be taken for ready
	mixed[1].Conditions.Ready = &yes
	mixed[2].Conditions.Ready = &no
	mixed[3].Conditions = discoveryv1.EndpointConditions{Ready: &no, Serving: &yes, Terminating: &yes}
	put(t, store, slice("dns", "rng-headless", "1", mixed...))
	// One endpoint is in both slices, as it may be while they are rewritten.
	put(t, store, slice("dns", "rng-headless", "2", endpoints("127.1.0.2", "127.1.0.5")...))
	put(t, store, slice("dns", "another", "1", endpoints("127.1.0.9")...))

	put(t, store, service("dns", "idle", corev1.ClusterIPNone))

	early := service("dns", "early", corev1.ClusterIPNone)
	early.Spec.PublishNotReadyAddresses = true
	put(t, store, early)
	put(t, store, slice("dns", "early", "1", mixed[2]))

	put(t, store, service("dns", "named", corev1.ClusterIPNone))
	hostname := "rng-0"
	named := endpoints("127.1.0.6")
	named[0].Hostname = &hostname
	put(t, store, slice("dns", "named", "1", named...))

	put(t, store, service("dns", "dual", corev1.ClusterIPNone))
	put(t, store, slice("dns", "dual", "4", endpoints("127.1.0.7")...))
	v6 := slice("dns", "dual", "6", endpoints("fd00::7", "fd00::")...)
	v6.AddressType = discoveryv1.AddressTypeIPv6
	put(t, store, v6)

	portless := service("dns", "portless", corev1.ClusterIPNone)
	portless.Spec.Ports = nil
	put(t, store, portless)
	none := slice("dns", "portless", "1", endpoints("127.1.0.8")...)
	none.Ports = nil
	put(t, store, none)

	return store
}

// many is a Service with n addresses, and what they are.
func many(t *testing.T, n int) (store *apiserver.Store, addresses []string) {
	t.Helper()
	store = apiserver.NewStore()
	put(t, store, service("dns", "rng-headless", corev1.ClusterIPNone))
	for i := range n {
		addresses = append(addresses, fmt.Sprintf("127.1.0.%d", i+1))
	}
	put(t, store, slice("dns", "rng-headless", "1", endpoints(addresses...)...))
	return store, addresses
}

func service(namespace, name, clusterIP string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.ServiceSpec{
			ClusterIP: clusterIP,
			Ports:     []corev1.ServicePort{{Name: "grpc", Port: 8081, Protocol: corev1.ProtocolTCP}, {Name: "http-admin", Port: 8080}},
		},
	}
}

func slice(namespace, service, id string, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	tcp := corev1.ProtocolTCP
	names, numbers := []string{"grpc", "http-admin"}, []int32{18081, 18080}
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: service + "-" + id,
			Labels: map[string]string{discoveryv1.LabelServiceName: service},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   endpoints,
	}
	for i := range names {
		s.Ports = append(s.Ports, discoveryv1.EndpointPort{Name: &names[i], Port: &numbers[i], Protocol: &tcp})
	}
	return s
}

func endpoints(addresses ...string) []discoveryv1.Endpoint {
	var list []discoveryv1.Endpoint
	for _, address := range addresses {
		list = append(list, discoveryv1.Endpoint{Addresses: []string{address}})
	}
	return list
}

func put(t testing.TB, store *apiserver.Store, object apiserver.Object) {
	t.Helper()
	if err := store.Put(object); err != nil {
		t.Fatal(err)
	}
}

// listen starts a server for the namespace "dns".
func listen(t *testing.T, store *apiserver.Store, opts Options) *Server {
	t.Helper()
	s, err := Listen(t.Context(), store, "dns", netip.MustParseAddrPort("127.0.0.1:0"), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func ask(name string, kind uint16) *mdns.Msg { return new(mdns.Msg).SetQuestion(name, kind) }

func exchange(t *testing.T, s *Server, network string, query *mdns.Msg) *mdns.Msg {
	t.Helper()
	client := mdns.Client{Net: network, Timeout: deadline}
	reply, _, err := client.Exchange(query, s.Addr().String())
	if err != nil {
		t.Fatalf("%s, %s: %v", query.Question[0].Name, network, err)
	}
	return reply
}
