package srv

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	grpcstatus "google.golang.org/grpc/status"

	_ "google.golang.org/grpc/balancer/leastrequest"
	_ "google.golang.org/grpc/balancer/randomsubsetting"
	_ "google.golang.org/grpc/balancer/ringhash"
	_ "google.golang.org/grpc/balancer/weightedroundrobin"
)

// backend is a real gRPC server. It returns its port.
func backend(t testing.TB, options ...grpc.ServerOption) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(options...)
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		server.Stop()
		serving.Wait()
	})

	return listener.Addr().(*net.TCPAddr).Port
}

// switchable is a DNS server whose answers change.
type switchable struct{ answer atomic.Pointer[handler] }

func (s *switchable) set(h handler) { s.answer.Store(&h) }

func (s *switchable) serve(t testing.TB) string {
	t.Helper()

	return serve(t, func(w dns.ResponseWriter, query *dns.Msg) { _ = w.WriteMsg((*s.answer.Load())("", query)) })
}

// backends are the records of backends on these ports.
func backends(ports ...int) handler {
	var lines []string
	for i, port := range ports {
		host := fmt.Sprintf("pod%d.test.", i)
		lines = append(lines, fmt.Sprintf("%s 0 IN SRV 0 50 %d %s", whole, port, host), host+" 0 IN A 127.0.0.1")
	}

	return zone(lines...)
}

// dial makes a channel that looks up every 10 ms.
func dial(t testing.TB, server, policy string, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	b := NewBuilder(Config{Server: server, ResolvConf: "no/such/file", MinTTL: 10 * time.Millisecond, MaxTTL: 10 * time.Millisecond, Logger: quiet})
	conn, err := grpc.NewClient("srv:///rng.test.:grpc", append([]grpc.DialOption{
		grpc.WithResolvers(b), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [` + policy + `]}`),
	}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })

	return conn
}

func call(t testing.TB, conn *grpc.ClientConn, options ...grpc.CallOption) (port int, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), "key", "x"), 10*time.Second)
	defer cancel()
	var served peer.Peer
	_, err = grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{}, append(options, grpc.Peer(&served))...)
	if tcp, ok := served.Addr.(*net.TCPAddr); ok && err == nil {
		port = tcp.Port
	}

	return port, err
}

// eventually calls until what comes of it is as wanted.
func eventually(t *testing.T, what string, wanted func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !wanted(); {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
	}
}

const (
	roundRobin = `{"round_robin": {}}`
	pickFirst  = `{"pick_first": {}}`
)

var policies = []string{
	roundRobin, pickFirst,
	`{"weighted_round_robin": {}}`, `{"least_request_experimental": {}}`, `{"ring_hash_experimental": {"requestHashHeader": "key"}}`,
}

func TestRoundRobinReachesEveryTarget(t *testing.T) {
	ports := []int{backend(t), backend(t), backend(t)}
	var names switchable
	names.set(backends(ports[:2]...))
	conn := dial(t, names.serve(t), roundRobin)
	reaches := func(want int) {
		t.Helper()
		eventually(t, fmt.Sprint(want, " backends are reached"), func() bool {
			reached := make(map[int]bool)
			for range 3 * want {
				port, err := call(t, conn)
				if err != nil {
					t.Fatal(err)
				}
				reached[port] = true
			}

			return len(reached) == want
		})
	}
	reaches(2)
	names.set(backends(ports...))
	reaches(3)
	names.set(backends(ports[1:]...))
	reaches(2)
}

func TestWhenDNSSaysThatThereIsNothingRPCsFailFastWithTheNameThatWasLookedUp(t *testing.T) {
	port := backend(t)
	for _, policy := range policies {
		var names switchable
		names.set(backends(port))
		conn := dial(t, names.serve(t), policy)
		if got, err := call(t, conn, grpc.WaitForReady(true)); err != nil || got != port {
			t.Fatalf("%s: %v", policy, err)
		}
		names.set(zone())
		fails := func() bool {
			_, err := call(t, conn)

			return grpcstatus.Code(err) == codes.Unavailable && strings.Contains(err.Error(), "srv: no endpoints for srv:///rng.test.:grpc: "+whole+" has no SRV records")
		}
		eventually(t, policy+": RPCs fail with the name", fails)
		for range 20 {
			if !fails() {
				_, err := call(t, conn)
				t.Errorf("%s: then it is %v", policy, err)
			}
		}

		// Those that wait for ready wait.
		waited := make(chan error)
		go func() {
			_, err := call(t, conn, grpc.WaitForReady(true))
			waited <- err
		}()
		if !fails() {
			t.Errorf("%s: they no longer fail", policy)
		}
		names.set(backends(port))
		if err := <-waited; err != nil {
			t.Errorf("%s: %v", policy, err)
		}
	}
}

func TestAServiceThatIsNotThereAtTheStartFailsRPCsWithTheNameThatWasLookedUp(t *testing.T) {
	for want, h := range map[string]handler{
		whole + " has no SRV records":                 zone(),
		"the look-up failed: " + whole + " SRV: 127.": fails(dns.RcodeServerFailure),
	} {
		for _, policy := range policies {
			var names switchable
			names.set(h)
			_, err := call(t, dial(t, names.serve(t), policy))
			if grpcstatus.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want ...%s...", policy, err, want)
			}
		}
	}
}

func TestConnectionsOutliveADNSFailure(t *testing.T) {
	var names switchable
	names.set(backends(backend(t), backend(t)))
	conn := dial(t, names.serve(t), roundRobin)
	if _, err := call(t, conn); err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	names.set(func(network string, query *dns.Msg) *dns.Msg {
		asked.Add(1)

		return fails(dns.RcodeServerFailure)(network, query)
	})
	eventually(t, "the failing server is asked", func() bool {
		if _, err := call(t, conn); err != nil {
			t.Fatal(err)
		}

		return asked.Load() > 0
	})
	if _, err := call(t, conn); err != nil {
		t.Error(err)
	}
}

func TestWeightsReachThePolicy(t *testing.T) {
	heavy, light := backend(t), backend(t)
	var names switchable
	names.set(zone(
		fmt.Sprintf("%s 0 IN SRV 0 90 %d a.test.", whole, heavy), fmt.Sprintf("%s 0 IN SRV 0 10 %d b.test.", whole, light),
		"a.test. 0 IN A 127.0.0.1", "b.test. 0 IN A 127.0.0.1",
	))
	// Of grpc's own policies ring_hash reads them: it gives the heavier one more of the ring.
	conn := dial(t, names.serve(t), `{"ring_hash_experimental": {"requestHashHeader": "key", "minRingSize": 1000}}`)
	count := make(map[int]int)
	for i := range 500 {
		ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), "key", fmt.Sprint(i)), 10*time.Second)
		var served peer.Peer
		_, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.Peer(&served))
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		count[served.Addr.(*net.TCPAddr).Port]++
	}
	if count[heavy] < 400 || count[light] == 0 {
		t.Errorf("of 500 keys %d are with weight 90, %d with weight 10", count[heavy], count[light])
	}
}

func TestTLSExpectsTheTargetsNameAndNotThatOfARecord(t *testing.T) {
	certificate, roots := selfSigned(t, "rng.test")
	port := backend(t, grpc.Creds(credentials.NewServerTLSFromCert(&certificate)))
	var names switchable
	names.set(backends(port))
	server := names.serve(t)
	trusting := grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}))
	if _, err := call(t, dial(t, server, roundRobin, trusting)); err != nil {
		t.Error(err)
	}
	_, err := call(t, dial(t, server, roundRobin, trusting, grpc.WithAuthority("pod0.test")))
	if grpcstatus.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "pod0.test") {
		t.Errorf("with the name of a record: %v", err)
	}
}

func selfSigned(t *testing.T, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)

	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

func TestABadTargetFailsRPCsWithTheReason(t *testing.T) {
	conn, err := grpc.NewClient("srv:///rng-headless", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := call(t, conn); err == nil || !strings.Contains(err.Error(), `port of "rng-headless": want the name of a port`) {
		t.Error(err)
	}
}
