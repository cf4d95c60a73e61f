package clusterip

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
)

// fixture is a store with one Service, and pods.
type fixture struct {
	*testing.T

	store   *apiserver.Store
	virtual netip.AddrPort
	pods    sync.WaitGroup
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{T: t, store: apiserver.NewStore(), virtual: freePort(t, "127.93.0.1")}
	f.put(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "rng"},
		Spec: corev1.ServiceSpec{
			ClusterIP: f.virtual.Addr().String(),
			Ports:     []corev1.ServicePort{{Name: "grpc", Port: int32(f.virtual.Port())}},
		},
	})
	f.put(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "rng-headless"},
		Spec:       corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, Ports: []corev1.ServicePort{{Port: 1}}},
	})
	t.Cleanup(f.pods.Wait)
	return f
}

func (f *fixture) put(object apiserver.Object) {
	f.Helper()
	if err := f.store.Put(object); err != nil {
		f.Fatal(err)
	}
}

// pod is a server that answers each line with its name.
func (f *fixture) pod(name string) netip.AddrPort {
	f.Helper()
	return f.serve(name, func(conn *net.TCPConn) {
		defer conn.Close()
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			fmt.Fprintln(conn, name)
		}
	})
}

func (f *fixture) serve(name string, serve func(*net.TCPConn)) netip.AddrPort {
	f.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { listener.Close() })
	f.pods.Go(func() {
		for {
			conn, err := listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				f.Errorf("pod %s: %v", name, err)
				return
			}
			f.pods.Go(func() { serve(conn.(*net.TCPConn)) })
		}
	})
	return netip.MustParseAddrPort(listener.Addr().String())
}

// endpoint is an address and what is known of it.
type endpoint struct {
	at         netip.AddrPort
	conditions discoveryv1.EndpointConditions
}

// ready is as the API may say it: by saying nothing.
func ready(at netip.AddrPort) endpoint { return endpoint{at: at} }

func conditions(at netip.AddrPort, ready, serving, terminating bool) endpoint {
	return endpoint{at, discoveryv1.EndpointConditions{Ready: &ready, Serving: &serving, Terminating: &terminating}}
}

// endpoints replaces the EndpointSlices whose name begins with id. Each endpoint has a
// slice of its own, as the pods of a test share an address and differ in the port.
func (f *fixture) endpoints(id string, list ...endpoint) {
	f.Helper()
	for i, each := range list {
		name, port := "grpc", int32(each.at.Port())
		other, otherPort := "http-admin", int32(1)
		f.put(&discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "ns", Name: fmt.Sprintf("rng-%s-%d", id, i),
				Labels: map[string]string{discoveryv1.LabelServiceName: "rng"},
			},
			AddressType: discoveryv1.AddressTypeIPv4,
			Ports:       []discoveryv1.EndpointPort{{Name: &other, Port: &otherPort}, {Name: &name, Port: &port}},
			Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{each.at.Addr().String()}, Conditions: each.conditions}},
		})
	}
}

// run starts the proxy. The function that it returns stops it; the end of the test does
// too.
func (f *fixture) run() (stop func() error) {
	f.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	f.pods.Go(func() { result <- Run(ctx, f.store, Options{}) })
	stop = sync.OnceValue(func() error {
		cancel()
		return <-result
	})
	f.Cleanup(func() {
		if err := stop(); err != nil {
			f.Error(err)
		}
	})
	return stop
}

// refuses makes a connection. One that is caught by the closing of the listener may be
// reset instead, which is none of the two.
func (f *fixture) refuses() bool {
	conn, err := net.Dial("tcp", f.virtual.String())
	if err == nil {
		conn.Close()
	} else if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ECONNRESET) {
		f.Errorf("got error %v, want none or a refusal", err)
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// reaches makes a connection, and says whether this pod is the one that answers.
func (f *fixture) reaches(name string) bool {
	f.Helper()
	return !f.refuses() && hello(f.T, f.dial()) == name
}

// eventually waits for what no channel tells of.
func (f *fixture) eventually(what string, holds func() bool) {
	f.Helper()
	ticks := time.NewTicker(time.Millisecond)
	defer ticks.Stop()
	for end := time.After(deadline); !holds(); {
		select {
		case <-ticks.C:
		case <-end:
			f.Fatalf("it never came to be that %s", what)
		}
	}
}

// dial connects as soon as the proxy takes connections.
func (f *fixture) dial() *net.TCPConn {
	f.Helper()
	var conn *net.TCPConn
	f.eventually("it takes a connection", func() bool {
		c, err := net.Dial("tcp", f.virtual.String())
		if err == nil {
			conn = kept(f.T, c)
		}
		return err == nil
	})
	return conn
}

func dial(t *testing.T, at netip.AddrPort) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	return kept(t, conn)
}

// kept is a connection that the end of the test closes.
func kept(t *testing.T, conn net.Conn) *net.TCPConn {
	t.Helper()
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(deadline))
	return conn.(*net.TCPConn)
}

// hello asks a pod for its name.
func hello(t *testing.T, conn *net.TCPConn) string {
	t.Helper()
	if _, err := fmt.Fprintln(conn, "who is there?"); err != nil {
		t.Fatal(err)
	}
	var name string
	if _, err := fmt.Fscanln(conn, &name); err != nil {
		t.Fatal(err)
	}
	return name
}

// freePort is a port that nobody uses at an address.
func freePort(t *testing.T, address string) netip.AddrPort {
	t.Helper()
	listener, err := net.Listen("tcp", address+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return netip.MustParseAddrPort(listener.Addr().String())
}

func deadlined(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	t.Cleanup(cancel)
	return ctx
}
