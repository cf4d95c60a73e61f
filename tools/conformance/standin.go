package conformance

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/client-go/rest"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
)

// StandIn is a Cluster of the lab's stand-in for the API server, whose documentation says what is real about it. Each
// run has one of its own.
type StandIn struct {
	store     *apiserver.Store
	server    *apiserver.Server
	http      *http.Server
	transport *http.Transport
	served    chan struct{} // closed when it no longer serves

	mu     sync.Mutex
	outage Outage
	over   chan struct{} // closed when the outage is
}

// NewStandIn starts a stand-in on a listener, which clients reach by dialling. See Loopback and Memory for both.
func NewStandIn(listener net.Listener, dial func(context.Context, string, string) (net.Conn, error)) *StandIn {
	store := apiserver.NewStore()
	s := &StandIn{
		store:  store,
		server: apiserver.NewServer(store, apiserver.Options{}),
		served: make(chan struct{}),
		over:   make(chan struct{}),
	}
	s.transport = &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			s.mu.Lock()
			outage, over := s.outage, s.over
			s.mu.Unlock()
			switch outage {
			case Refusing:
				return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
			case Silent:
				select {
				case <-over:
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}

			return dial(ctx, network, listener.Addr().String())
		},
	}
	s.http = &http.Server{Handler: s.server, ErrorLog: log.New(io.Discard, "", 0)} //nolint:gosec // its clients are in this process
	go func() {
		defer close(s.served)
		_ = s.http.Serve(listener) // until Close
	}()

	return s
}

// Close stops the server and cuts what is connected to it.
func (s *StandIn) Close() {
	s.server.Close()
	_ = s.http.Close()
	<-s.served
	s.transport.CloseIdleConnections()
}

// REST is a configuration for connections to this stand-in, whatever its Host says.
func (s *StandIn) REST() *rest.Config {
	return &rest.Config{Host: "http://kubernetes.default.svc", Transport: s.transport}
}

// Namespace is always the same: the stand-in has nobody else's.
func (s *StandIn) Namespace() string { return "conformance" }

// Put puts an object into the store.
func (s *StandIn) Put(_ context.Context, object Object) error {
	return s.store.Put(object)
}

// Delete removes an object from the store.
func (s *StandIn) Delete(_ context.Context, object Object) error {
	namespace, name := object.GetNamespace(), object.GetName()
	switch object.(type) {
	case *corev1.Service:
		apiserver.Delete[*corev1.Service](s.store, namespace, name)
	case *corev1.Endpoints: //nolint:staticcheck // deprecated, yet it is what kuberesolver v5 watches
		apiserver.Delete[*corev1.Endpoints](s.store, namespace, name) //nolint:staticcheck // as above
	case *discoveryv1.EndpointSlice:
		apiserver.Delete[*discoveryv1.EndpointSlice](s.store, namespace, name)
	case *rbacv1.Role:
		apiserver.Delete[*rbacv1.Role](s.store, namespace, name)
	case *rbacv1.RoleBinding:
		apiserver.Delete[*rbacv1.RoleBinding](s.store, namespace, name)
	default:
		return fmt.Errorf("%T is not a kind that the suite deletes", object)
	}

	return nil
}

// IssueToken is the server's.
func (s *StandIn) IssueToken(_ context.Context, namespace, serviceAccount string) (string, error) {
	return s.server.IssueToken(namespace, serviceAccount), nil
}

// RevokeToken is the server's.
func (s *StandIn) RevokeToken(_ context.Context, token string) error {
	s.server.RevokeToken(token)

	return nil
}

// SetOutage refuses or delays connections where they are dialled, and has the server break those that there are.
func (s *StandIn) SetOutage(outage Outage) error {
	s.server.SetDown(outage != Up)
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.over)
	s.outage, s.over = outage, make(chan struct{})

	return nil
}

// CloseWatches is the server's.
func (s *StandIn) CloseWatches() { s.server.CloseWatches() }

// Expire compacts the store.
func (s *StandIn) Expire(context.Context) error {
	s.store.Compact()

	return nil
}

// AtOnce need do nothing: a write takes no time.
func (s *StandIn) AtOnce(write func() error) error { return write() }

// Slack is none.
func (s *StandIn) Slack() float64 { return 1 }

// BackendHost is the loopback interface: the stand-in does not validate addresses.
func (s *StandIn) BackendHost() string { return "127.0.0.1" }

// Loopback starts a stand-in on a socket of 127.0.0.1.
func Loopback() (*StandIn, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the API server: %w", err)
	}
	var dialer net.Dialer

	return NewStandIn(listener, dialer.DialContext), nil
}

// Memory starts a stand-in on a network in memory: for bubbles of testing/synctest, where sockets cannot be, since
// their clock stands still as long as somebody waits for one.
func Memory() *StandIn {
	network := &memory{conns: make(chan net.Conn), closed: make(chan struct{})}

	return NewStandIn(network, network.dial)
}

// memory is a listener whose connections are pipes.
type memory struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (m *memory) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case m.conns <- server:
		return client, nil
	case <-m.closed:
		return nil, &net.OpError{Op: "dial", Net: "memory", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept returns the server's end of the next connection.
func (m *memory) Accept() (net.Conn, error) {
	select {
	case conn := <-m.conns:
		return conn, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

// Close refuses further connections.
func (m *memory) Close() error {
	m.once.Do(func() { close(m.closed) })

	return nil
}

// Addr is only a name.
func (m *memory) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }
