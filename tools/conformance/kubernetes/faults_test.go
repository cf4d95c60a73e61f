//go:build e2e

package kubernetes

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"

	"github.com/evenkeel/evenkeel/resolver/endpointslice"
	"github.com/evenkeel/evenkeel/tools/conformance"
)

// etcd of tools/cluster, which can be reached from the control plane's network alone.
const etcd = "http://127.0.0.1:2379"

// direct leads to the API server without a proxy.
type direct struct {
	*Cluster

	api *rest.Config
}

// REST leads to the API server itself.
func (d *direct) REST() *rest.Config { return d.api }

func newDirect(t *testing.T) *direct {
	t.Helper()
	admin := administrator(t)
	cluster, err := New(t.Context(), admin)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Close(); err != nil {
			t.Error(err)
		}
	})

	return &direct{Cluster: cluster, api: rest.AnonymousClientConfig(admin)}
}

// TestACompactedServer comes first: after an outage as long as that of the other, nodes may be called NotReady for a while,
// and `up` waits for them.
func TestACompactedServer(t *testing.T) {
	server := newServer(t)
	cluster := newDirect(t)
	// While the server restarts, the network loses all packets. If connections were refused, the resolver would begin
	// anew rather than resume its watch, and never hear of a version that is gone.
	var network silence
	cluster.api.Dial = network.dial
	b := conformance.Outlasts("compacted", func(ctx context.Context, change func(context.Context) error) error {
		restore := network.begin()
		defer restore()
		server.kill(t)
		gone := revision(t) // the resolver knows no later one
		advance(t)
		compact(t)
		server.up(t)
		if err := change(ctx); err != nil {
			return err
		}
		wantExpired(t, cluster, gone)
		if seen := expired(t, cluster.namespace); seen != 0 {
			return fmt.Errorf("the resolver has seen %v expired versions before it could", seen)
		}
		restore()

		return nil
	})
	if result := conformance.Run(t.Context(), b, conformance.Endpointslice(), cluster, t.TempDir()); !result.Passed {
		t.Fatal(result.Seen)
	}
	if seen := expired(t, cluster.namespace); seen != 1 {
		t.Errorf("the resolver has seen %v expired versions, want 1", seen)
	}
}

func TestAKilledServer(t *testing.T) {
	server := newServer(t)
	cluster := newDirect(t)
	const down = 30 * time.Second
	b := conformance.Outlasts("killed", func(ctx context.Context, change func(context.Context) error) error {
		server.kill(t)
		back := time.NewTimer(down)
		defer back.Stop()
		select {
		case <-back.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if _, err := versionOf(ctx, cluster.clients, cluster.namespace); !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("after %v: %w: something answers, or otherwise than by refusing", down, err)
		}
		server.up(t)

		return change(ctx)
	})
	if result := conformance.Run(t.Context(), b, conformance.Endpointslice(), cluster, t.TempDir()); !result.Passed {
		t.Error(result.Seen)
	}
}

// silence is a network that may lose all packets: who dials then hears nothing until it is over.
type silence struct {
	mu   sync.Mutex
	over chan struct{} // nil before the first
}

func (s *silence) begin() (end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	over := make(chan struct{})
	s.over = over

	return sync.OnceFunc(func() { close(over) })
}

func (s *silence) dial(ctx context.Context, network, address string) (net.Conn, error) {
	s.mu.Lock()
	over := s.over
	s.mu.Unlock()
	if over != nil {
		select {
		case <-over:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	var dialer net.Dialer

	return dialer.DialContext(ctx, network, address)
}

// revision is the present one of etcd, which is where resourceVersions come from.
func revision(t *testing.T) string {
	t.Helper()
	var status struct{ Header struct{ Revision string } }
	ask(t, "/v3/maintenance/status", "{}", &status)

	return status.Header.Revision
}

// advance makes the present revision another one: with nothing new in etcd, a server would begin where the last one ended.
func advance(t *testing.T) {
	t.Helper()
	key := base64.StdEncoding.EncodeToString([]byte("/evenkeel/conformance"))
	ask(t, "/v3/kv/put", fmt.Sprintf(`{"key": %q}`, key), &struct{}{})
	ask(t, "/v3/kv/deleterange", fmt.Sprintf(`{"key": %q}`, key), &struct{}{})
}

// compact makes etcd forget all revisions before the present one.
func compact(t *testing.T) {
	t.Helper()
	ask(t, "/v3/kv/compaction", fmt.Sprintf(`{"revision": %q}`, revision(t)), &struct{}{})
}

func ask(t *testing.T, path, body string, answer any) {
	t.Helper()
	response, err := http.Post(etcd+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatalf("etcd: %v: it is in the control plane's network only: cluster exec --node 0", err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("etcd: %s %s: HTTP %d: %s %v", path, body, response.StatusCode, text, err)
	}
	if err := json.Unmarshal(text, answer); err != nil {
		t.Fatalf("etcd: %s: %s: %v", path, text, err)
	}
}

// wantExpired wants a version to be gone for etcd, which a list of exactly that version asks, and for the API server,
// which a watch asks: HTTP 410 for one, and for the other an event of type ERROR.
func wantExpired(t *testing.T, cluster *direct, version string) {
	t.Helper()
	slices := cluster.clients.DiscoveryV1().EndpointSlices(cluster.namespace)
	_, err := slices.List(t.Context(), metav1.ListOptions{ResourceVersion: version, ResourceVersionMatch: metav1.ResourceVersionMatchExact})
	if !apierrors.IsResourceExpired(err) {
		t.Fatalf("list at version %s: %v, want HTTP 410 with the reason Expired", version, err)
	}
	t.Logf("list at version %s: %v", version, err)
	open, err := slices.Watch(t.Context(), metav1.ListOptions{ResourceVersion: version})
	if err != nil {
		t.Fatalf("watch from version %s: %v, want an event of type ERROR", version, err)
	}
	defer open.Stop()
	event := <-open.ResultChan()
	if err := apierrors.FromObject(event.Object); event.Type != watch.Error || !apierrors.IsResourceExpired(err) {
		t.Fatalf("watch from version %s: %s %v, want ERROR with 410 and the reason Expired", version, event.Type, event.Object)
	}
	t.Logf("watch from version %s: %s %v", version, event.Type, event.Object)
}

// expired is how many watches of this process' resolvers have ended because their version had expired, in a namespace or in
// all.
func expired(t *testing.T, namespace string) (sum float64) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(endpointslice.Collector())
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "endpointslice_resolver_watch_restarts_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			labels := map[string]string{}
			for _, label := range metric.GetLabel() {
				labels[label.GetName()] = label.GetValue()
			}
			if (namespace == "" || namespace == labels["namespace"]) && labels["reason"] == "expired" {
				sum += metric.GetCounter().GetValue()
			}
		}
	}

	return sum
}
