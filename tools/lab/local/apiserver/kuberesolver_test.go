package apiserver_test

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"testing"

	"github.com/sercand/kuberesolver/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// k8sClient is what kuberesolver needs outside a cluster: its own NewInsecureK8sClient sends no token.
type k8sClient struct {
	url, token string
	http       *http.Client
}

func (k *k8sClient) Host() string                               { return k.url }
func (k *k8sClient) Do(r *http.Request) (*http.Response, error) { return k.http.Do(r) }
func (k *k8sClient) GetRequest(url string) (*http.Request, error) {
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+k.token)
	return r, nil
}

// backend is a tiny gRPC server; it returns its port.
func backend(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, health.NewServer())
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().(*net.TCPAddr).Port
}

func endpoints(port int) *corev1.Endpoints { //nolint:staticcheck // deprecated, and what kuberesolver v5 watches
	return &corev1.Endpoints{ //nolint:staticcheck // as above
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "rng"},
		Subsets: []corev1.EndpointSubset{{ //nolint:staticcheck // as above
			Addresses: []corev1.EndpointAddress{{IP: "127.0.0.1"}},
			Ports:     []corev1.EndpointPort{{Name: "http-admin", Port: 1}, {Name: "grpc", Port: int32(port)}},
		}},
	}
}

func TestKuberesolverFollowsEndpoints(t *testing.T) {
	c := newCluster(t)
	grant(t, c.store, "ns", "client", rbacv1.PolicyRule{
		Verbs: []string{"get", "watch"}, APIGroups: []string{""}, Resources: []string{"endpoints"}, ResourceNames: []string{"rng"},
	})
	first, second := backend(t), backend(t)
	put(t, c.store, endpoints(first))

	k8s := &k8sClient{url: c.url, token: c.IssueToken("ns", "client"), http: client(t)}
	conn, err := grpc.NewClient("kubernetes:///rng.ns:grpc",
		grpc.WithResolvers(kuberesolver.NewBuilder(k8s, "kubernetes")),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	callUntil := func(port int) {
		t.Helper()
		want := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		for {
			var from peer.Peer
			if _, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}, grpc.Peer(&from), grpc.WaitForReady(true)); err != nil {
				t.Fatal(err)
			}
			if from.Addr.String() == want {
				return
			}
		}
	}
	callUntil(first)
	put(t, c.store, endpoints(second))
	callUntil(second)
	c.CloseWatches() // kuberesolver watches anew
	put(t, c.store, endpoints(first))
	callUntil(first)
	if usage := c.Usage("ns"); usage.Requests != 2 || usage.WatchEvents < 3 {
		t.Errorf("it cost %+v, want 2 requests for watches", usage)
	}
}
