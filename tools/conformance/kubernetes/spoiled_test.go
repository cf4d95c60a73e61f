package kubernetes

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/evenkeel/evenkeel/tools/conformance"
	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
)

// spoiled is a cluster as far as it can be spoiled, with an API of the stand-in behind it.
type spoiled struct {
	conformance.Cluster

	client *http.Client
	token  string
	store  func(name string) // puts an EndpointSlice
}

const namespace = "conformance"

func sliceNamed(name string) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: "rng"}},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
}

func access() []conformance.Object {
	meta := metav1.ObjectMeta{Namespace: namespace, Name: "client"}

	return []conformance.Object{
		&rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{
			Verbs: []string{"list", "watch"}, APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"},
		}}},
		&rbacv1.RoleBinding{
			ObjectMeta: meta,
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: "client"}},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "client"},
		},
	}
}

// standIn is the stand-in as it is.
func standIn(t *testing.T) *spoiled {
	t.Helper()
	cluster, err := conformance.Loopback()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	for _, object := range access() {
		if err := cluster.Put(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	token, err := cluster.IssueToken(t.Context(), namespace, "client")
	if err != nil {
		t.Fatal(err)
	}

	return newSpoiled(t, cluster, token, func(name string) {
		if err := cluster.Put(t.Context(), sliceNamed(name)); err != nil {
			t.Error(err)
		}
	})
}

// proxied is the same API server behind the proxy.
func proxied(t *testing.T) *spoiled {
	t.Helper()
	store := apiserver.NewStore()
	for _, object := range access() {
		if err := store.Put(object); err != nil {
			t.Fatal(err)
		}
	}
	store.Compact() // so that it has a version that is older than its history
	server := apiserver.NewServer(store, apiserver.Options{})
	listening := httptest.NewServer(server)
	t.Cleanup(listening.Close)
	t.Cleanup(server.Close)
	config := &rest.Config{Host: listening.URL}
	p, err := newProxy(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.close(); err != nil {
			t.Error(err)
		}
	})
	token := server.IssueToken(namespace, "client")
	administrator := &rest.Config{Host: listening.URL, BearerToken: token}
	clients, err := kubernetes.NewForConfig(administrator)
	if err != nil {
		t.Fatal(err)
	}

	return newSpoiled(t, &Cluster{clients: clients, namespace: namespace, proxy: p}, token, func(name string) {
		if err := store.Put(sliceNamed(name)); err != nil {
			t.Error(err)
		}
	})
}

func newSpoiled(t *testing.T, cluster conformance.Cluster, token string, store func(string)) *spoiled {
	t.Helper()
	config := rest.CopyConfig(cluster.REST())
	config.BearerToken = token
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	client.Timeout = time.Minute // of all that is read too: no test waits for ever
	t.Cleanup(func() { utilnet.CloseIdleConnectionsFor(client.Transport) })

	return &spoiled{Cluster: cluster, client: client, token: token, store: store}
}

// get asks for the slices of the namespace.
func (s *spoiled) get(ctx context.Context, query string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet,
		s.REST().Host+"/apis/discovery.k8s.io/v1/namespaces/"+namespace+"/endpointslices?"+query, http.NoBody)
	if err != nil {
		return nil, err
	}

	return s.client.Do(request)
}

// code is the HTTP status of a list.
func (s *spoiled) code(t *testing.T) int {
	t.Helper()
	response, err := s.get(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Fatal(err)
	}

	return response.StatusCode
}

// watch opens a watch. The function returns the next event, or the error with which the watch ended.
func (s *spoiled) watch(t *testing.T, query string) (next func() (string, error)) {
	t.Helper()
	response, err := s.get(t.Context(), "watch=1&"+query)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	if response.StatusCode != http.StatusOK {
		t.Fatalf("watch: HTTP %d", response.StatusCode)
	}
	lines := bufio.NewReader(response.Body)

	return func() (string, error) { return lines.ReadString('\n') }
}

// want wants the next event to have some words in it.
func want(t *testing.T, next func() (string, error), words ...string) {
	t.Helper()
	event, err := next()
	if err != nil {
		t.Fatalf("the watch ended with %v instead of %s", err, words)
	}
	for _, word := range words {
		if !strings.Contains(event, word) {
			t.Fatalf("got %s, which lacks %s", event, word)
		}
	}
}
