package clusterip

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
)

const (
	deadline = 10 * time.Second
	// asServer makes this binary a server that can be killed.
	asServer = "CLUSTERIP_TEST_SERVER"
)

func TestMain(m *testing.M) {
	if request := os.Getenv(asServer); request != "" {
		serveWithoutReading(request)
	}
	goleak.VerifyTestMain(m)
}

func TestEachConnectionGoesToOneRandomEndpoint(t *testing.T) {
	f := newFixture(t)
	f.endpoints("1", ready(f.pod("a")), ready(f.pod("b")))
	f.endpoints("2", ready(f.pod("c")))
	f.run()
	seen := make(map[string]int)
	// That one of three is missing in 120 tries has a chance of 1 in 10^20.
	for range 120 {
		conn := f.dial()
		name := hello(t, conn)
		// It stays with the endpoint.
		if again := hello(t, conn); again != name {
			t.Fatalf("one connection was answered by %s and then by %s", name, again)
		}
		conn.Close()
		seen[name]++
	}
	if names := slices.Sorted(maps.Keys(seen)); !slices.Equal(names, []string{"a", "b", "c"}) {
		t.Errorf("120 connections went to %v", seen)
	}
}

func TestAConnectionStaysWithAnEndpointThatIsNoLongerReady(t *testing.T) {
	f := newFixture(t)
	a, b := f.pod("a"), f.pod("b")
	f.endpoints("1", ready(a))
	f.run()
	old := f.dial()
	if name := hello(t, old); name != "a" {
		t.Fatalf("answered by %s, want a", name)
	}
	f.endpoints("2", ready(b))
	f.endpoints("1", conditions(a, false, false, false))
	f.eventually("new connections go to b", func() bool { return f.reaches("b") })
	if name := hello(t, old); name != "a" {
		t.Errorf("the old connection is answered by %s, want a", name)
	}
	apiserver.Delete[*corev1.Service](f.store, "ns", "rng")
	f.eventually("connections are refused without a Service", f.refuses)
	if name := hello(t, old); name != "a" {
		t.Errorf("without the Service, the old connection is answered by %s, want a", name)
	}
}

func TestWhenNothingIsReadyTheTerminatingThatServeAreUsed(t *testing.T) {
	f := newFixture(t)
	starting, serving, gone := f.pod("starting"), f.pod("serving"), f.pod("gone")
	f.endpoints("1", conditions(starting, false, false, false), conditions(gone, false, false, true), conditions(serving, false, true, true))
	f.run()
	for range 20 {
		if name := hello(t, f.dial()); name != "serving" {
			t.Fatalf("answered by %s, want the one that serves", name)
		}
	}
	f.endpoints("1", ready(starting), conditions(serving, false, true, true))
	f.eventually("connections go to the ready one", func() bool { return f.reaches("starting") })
	for range 20 {
		if name := hello(t, f.dial()); name != "starting" {
			t.Fatalf("answered by %s, want the ready one alone", name)
		}
	}
}

func TestWithoutEndpointsConnectionsAreRefused(t *testing.T) {
	f := newFixture(t)
	a := f.pod("a")
	f.endpoints("1", ready(a))
	f.run()
	for range 3 {
		if name := hello(t, f.dial()); name != "a" {
			t.Errorf("answered by %s, want a", name)
		}
		f.endpoints("1", conditions(a, false, false, false))
		f.eventually("connections are refused", f.refuses)
		f.endpoints("1", ready(a))
	}
}

func TestAnEndpointThatRefusesIsAReset(t *testing.T) {
	f := newFixture(t)
	pod := f.pod("a")
	f.endpoints("1", ready(netip.AddrPortFrom(netip.MustParseAddr("127.94.0.1"), pod.Port())))
	f.run()
	f.eventually("a connection is reset, at once or when it is used", func() bool {
		conn, err := net.Dial("tcp", f.virtual.String())
		if err == nil {
			_, err = kept(t, conn).Read(make([]byte, 1))
		}
		return errors.Is(err, syscall.ECONNRESET)
	})
}

func TestACleanEndIsPassedOnAndTheOtherDirectionGoesOn(t *testing.T) {
	f := newFixture(t)
	f.endpoints("1", ready(f.serve("a", func(conn *net.TCPConn) {
		all, err := io.ReadAll(conn)
		fmt.Fprintf(conn, "%d bytes, error %v", len(all), err)
		conn.Close()
	})))
	f.run()
	conn := f.dial()
	// More than fits into the buffers on the way.
	if _, err := conn.Write(make([]byte, 8<<20)); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if want := "8388608 bytes, error <nil>"; string(got) != want || err != nil {
		t.Errorf("got %q and error %v, want %q and a clean end", got, err, want)
	}
}

func TestAResetByTheServerIsPassedOn(t *testing.T) {
	f := newFixture(t)
	f.endpoints("1", ready(f.serve("a", func(conn *net.TCPConn) {
		fmt.Fprintln(conn, "half an answer")
		conn.Read(make([]byte, 1)) // until the client has got it
		reset(conn)
	})))
	f.run()
	conn := f.dial()
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
		t.Fatalf("got %q and error %v", line, err)
	}
	if _, err := conn.Write([]byte("!")); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got error %v, want a reset", err)
	}
}

func TestAResetByTheClientIsPassedOn(t *testing.T) {
	f := newFixture(t)
	outcome := make(chan error, 1)
	f.endpoints("1", ready(f.serve("a", func(conn *net.TCPConn) {
		fmt.Fprintln(conn, "hello")
		_, err := conn.Read(make([]byte, 1))
		outcome <- err
		conn.Close()
	})))
	f.run()
	conn := f.dial()
	if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	reset(conn)
	select {
	case err := <-outcome:
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the server got error %v, want a reset", err)
		}
	case <-time.After(deadline):
		t.Error("the server was told nothing")
	}
}

func TestItEndsWithItsContext(t *testing.T) {
	f := newFixture(t)
	f.endpoints("1", ready(f.pod("a")))
	stop := f.run()
	conn := f.dial()
	hello(t, conn)
	if err := stop(); err != nil {
		t.Errorf("Run returned %v, want nil", err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection got error %v, want a reset", err)
	}
	if !f.refuses() {
		t.Error("its address still takes connections")
	}
}

func TestWhatIsNotSupportedIsAnError(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*corev1.Service)
		want   string
	}{
		"session affinity": {func(s *corev1.Service) { s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP }, "sessionAffinity is ClientIP"},
		"UDP":              {func(s *corev1.Service) { s.Spec.Ports[0].Protocol = corev1.ProtocolUDP }, "is UDP"},
		"another network":  {func(s *corev1.Service) { s.Spec.ClusterIP = "10.0.0.1" }, "clusterIP is 10.0.0.1"},
		"IPv6":             {func(s *corev1.Service) { s.Spec.ClusterIP = "::1" }, "clusterIP is ::1"},
		"nonsense":         {func(s *corev1.Service) { s.Spec.ClusterIP = "somewhere" }, "clusterIP is somewhere"},
	} {
		f := newFixture(t)
		f.endpoints("1", ready(f.pod("a")))
		service, _ := apiserver.Get[*corev1.Service](f.store, "ns", "rng")
		test.change(service)
		f.put(service)
		err := Run(deadlined(t), f.store, Options{})
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "ns/rng") {
			t.Errorf("%s: got error %v, want one with ns/rng and %q", name, err, test.want)
		}
	}
}

func TestAnAddressThatIsTakenIsAnError(t *testing.T) {
	f := newFixture(t)
	f.endpoints("1", ready(f.pod("a")))
	listener, err := net.Listen("tcp", f.virtual.String())
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	err = Run(deadlined(t), f.store, Options{})
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "ns/rng") || !strings.Contains(err.Error(), f.virtual.String()) {
		t.Errorf("got error %v, want one that names ns/rng and %s", err, f.virtual)
	}
}

func TestTwoServicesAtOneAddressAreAnError(t *testing.T) {
	f := newFixture(t)
	service, _ := apiserver.Get[*corev1.Service](f.store, "ns", "rng")
	service.Name = "another"
	f.put(service)
	err := Run(deadlined(t), f.store, Options{})
	if err == nil || !strings.Contains(err.Error(), "ns/another") || !strings.Contains(err.Error(), "ns/rng") {
		t.Errorf("got error %v, want one that names both", err)
	}
}
