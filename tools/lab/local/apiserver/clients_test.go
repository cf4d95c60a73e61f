package apiserver_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	discoveryv1client "k8s.io/client-go/kubernetes/typed/discovery/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
)

// wire records what client-go asked for, and gives each request the token of that moment, as client-go does with a
// token file.
type wire struct {
	mu       sync.Mutex
	requests []string // the query of each
	token    string
	failed   chan error // what requests failed with before there was an answer
	next     http.RoundTripper
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.requests = append(w.requests, r.URL.RawQuery)
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+w.token)
	w.mu.Unlock()
	response, err := w.next.RoundTrip(r)
	if err != nil {
		w.failed <- err
	}
	return response, err
}

func (w *wire) setToken(token string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.token = token
}

func (w *wire) queries() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.requests)
}

func (c *cluster) restConfig(t *testing.T) (*rest.Config, *wire) {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	w := &wire{token: c.token, next: transport, failed: make(chan error, 100)}
	return &rest.Config{Host: c.url, Transport: w}, w
}

// informer is client-go's reflector with a store, as a resolver would use it: a scheme of discovery/v1 alone.
type informer struct {
	t      *testing.T
	cache  cache.Store
	events chan struct{} // has an element whenever the cache has changed
	errs   chan error    // what the reflector's watches fail with
	wire   *wire
}

func (c *cluster) newInformer(t *testing.T, resource string) *informer {
	t.Helper()
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, metav1.SchemeGroupVersion)
	if err := discoveryv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	config, w := c.restConfig(t)
	config.APIPath = "/apis"
	config.GroupVersion = &discoveryv1.SchemeGroupVersion
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	restClient, err := rest.RESTClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	in := &informer{t: t, events: make(chan struct{}, 1), errs: make(chan error, 100), wire: w}
	wake := func() {
		select {
		case in.events <- struct{}{}:
		default:
		}
	}
	shared := cache.NewSharedIndexInformer(cache.NewListWatchFromClient(restClient, resource, "ns", fields.Everything()), &discoveryv1.EndpointSlice{}, 0, nil)
	in.cache = shared.GetStore()
	if err := shared.SetWatchErrorHandler(func(_ *cache.Reflector, err error) { in.errs <- err }); err != nil {
		t.Fatal(err)
	}
	if _, err := shared.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { wake() }, UpdateFunc: func(any, any) { wake() }, DeleteFunc: func(any) { wake() },
	}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { shared.RunWithContext(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return in
}

// addresses in the cache, by slice.
func (in *informer) addresses() map[string][]string {
	got := map[string][]string{}
	for _, each := range in.cache.List() {
		s := each.(*discoveryv1.EndpointSlice)
		got[s.Name] = []string{}
		for _, endpoint := range s.Endpoints {
			got[s.Name] = append(got[s.Name], endpoint.Addresses...)
		}
	}
	return got
}

func (in *informer) waitFor(want map[string][]string) {
	in.t.Helper()
	deadline := time.After(patience)
	for !cmp.Equal(in.addresses(), want) {
		select {
		case <-in.events:
		case <-deadline:
			in.t.Fatalf("the informer has %v, want %v", in.addresses(), want)
		}
	}
}

// waitForError waits until a certain error comes.
func waitForError(t *testing.T, errs <-chan error, is func(error) bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case err := <-errs:
			if is(err) {
				return
			}
		case <-deadline:
			t.Fatal("nothing failed as it should")
		}
	}
}

func TestAnInformerFollowsTheStoreByWatchList(t *testing.T) {
	c := newCluster(t)
	put(t, c.store, slice("rng-1", "rng", "192.0.2.1"))
	in := c.newInformer(t, "endpointslices")
	in.waitFor(map[string][]string{"rng-1": {"192.0.2.1"}})
	put(t, c.store, slice("rng-2", "rng", "192.0.2.2"), slice("rng-1", "rng", "192.0.2.1", "192.0.2.3"))
	in.waitFor(map[string][]string{"rng-1": {"192.0.2.1", "192.0.2.3"}, "rng-2": {"192.0.2.2"}})
	apiserver.Delete[*discoveryv1.EndpointSlice](c.store, "ns", "rng-1")
	in.waitFor(map[string][]string{"rng-2": {"192.0.2.2"}})
	// A watch that ends is taken up again where it ended.
	c.CloseWatches()
	put(t, c.store, slice("rng-3", "rng", "192.0.2.4"))
	in.waitFor(map[string][]string{"rng-2": {"192.0.2.2"}, "rng-3": {"192.0.2.4"}})
	queries := in.wire.queries()
	isList := func(query string) bool { return !strings.Contains(query, "watch=true") }
	if slices.ContainsFunc(queries, isList) || !strings.Contains(queries[0], "sendInitialEvents=true") {
		t.Errorf("it asked for %q: it fell back to a list", queries)
	}
}

func TestAnInformerSeesManyEndpointsInSeveralSlices(t *testing.T) {
	c := newCluster(t)
	want := map[string][]string{}
	for i := range 250 {
		name := fmt.Sprintf("rng-%d", i/100)
		want[name] = append(want[name], fmt.Sprintf("198.51.100.%d", i))
	}
	in := c.newInformer(t, "endpointslices")
	for name, addresses := range want {
		put(t, c.store, slice(name, "rng", addresses...))
	}
	in.waitFor(want)
	if sizes := []int{len(want["rng-0"]), len(want["rng-1"]), len(want["rng-2"])}; !slices.Equal(sizes, []int{100, 100, 50}) {
		t.Errorf("the slices have %v endpoints", sizes)
	}
}

func TestAnInformerRecoversWhenItsVersionIsForgotten(t *testing.T) {
	c := newCluster(t)
	put(t, c.store, slice("rng-1", "rng", "192.0.2.1"), slice("rng-2", "rng", "192.0.2.2"))
	in := c.newInformer(t, "endpointslices")
	in.waitFor(map[string][]string{"rng-1": {"192.0.2.1"}, "rng-2": {"192.0.2.2"}})
	put(t, c.store, slice("rng-1", "rng", "192.0.2.3"))
	in.waitFor(map[string][]string{"rng-1": {"192.0.2.3"}, "rng-2": {"192.0.2.2"}})
	// The revision moves on unseen by the informer, so when its watch ends, it asks for a version that is gone.
	seen := mustGet[*discoveryv1.EndpointSlice](t, c.store, "ns", "rng-1").ResourceVersion
	put(t, c.store, configMap("ns", "other"))
	c.store.Compact()
	c.CloseWatches()
	put(t, c.store, slice("rng-1", "rng", "192.0.2.9"))
	apiserver.Delete[*discoveryv1.EndpointSlice](c.store, "ns", "rng-2")
	in.waitFor(map[string][]string{"rng-1": {"192.0.2.9"}})
	// It asked to go on from there, was told 410, and began anew.
	queries := in.wire.queries()
	again := queries[len(queries)-2:]
	if !strings.Contains(again[0], "resourceVersion="+seen+"&") || !strings.Contains(again[1], "sendInitialEvents=true") {
		t.Errorf("it recovered by %q", again)
	}
}

func TestAnInformerSurvivesAServerThatIsDown(t *testing.T) {
	c := newCluster(t)
	put(t, c.store, slice("rng-1", "rng", "192.0.2.1"))
	in := c.newInformer(t, "endpointslices")
	in.waitFor(map[string][]string{"rng-1": {"192.0.2.1"}})
	c.SetDown(true)
	put(t, c.store, slice("rng-1", "rng", "192.0.2.2"))
	waitForError(t, in.wire.failed, func(err error) bool { return errors.Is(err, syscall.ECONNRESET) })
	if got := in.addresses()["rng-1"]; !slices.Equal(got, []string{"192.0.2.1"}) {
		t.Errorf("while the server is down, the informer has %v", got)
	}
	c.SetDown(false)
	in.waitFor(map[string][]string{"rng-1": {"192.0.2.2"}})
}

func TestAnInformerWithARevokedTokenIsUnauthorizedUntilItHasANewOne(t *testing.T) {
	c := newCluster(t)
	put(t, c.store, slice("rng-1", "rng", "192.0.2.1"))
	in := c.newInformer(t, "endpointslices")
	in.waitFor(map[string][]string{"rng-1": {"192.0.2.1"}})
	c.RevokeToken(c.token)
	put(t, c.store, slice("rng-1", "rng", "192.0.2.2"))
	in.waitFor(map[string][]string{"rng-1": {"192.0.2.2"}}) // the open watch goes on
	c.CloseWatches()
	waitForError(t, in.errs, apierrors.IsUnauthorized)
	in.wire.setToken(c.IssueToken("ns", "reader"))
	put(t, c.store, slice("rng-1", "rng", "192.0.2.3"))
	in.waitFor(map[string][]string{"rng-1": {"192.0.2.3"}})
}

func TestAnInformerWithoutTheRoleIsForbiddenUntilItHasIt(t *testing.T) {
	c := newCluster(t)
	put(t, c.store, slice("rng-1", "rng", "192.0.2.1"))
	c.token = c.IssueToken("ns", "client")
	in := c.newInformer(t, "endpointslices")
	waitForError(t, in.errs, func(err error) bool {
		return apierrors.IsForbidden(err) && strings.Contains(err.Error(), `endpointslices.discovery.k8s.io is forbidden: User "system:serviceaccount:ns:client" cannot list resource "endpointslices" in API group "discovery.k8s.io" in the namespace "ns"`)
	})
	grant(t, c.store, "ns", "client", rbacv1.PolicyRule{Verbs: []string{"get", "list", "watch"}, APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}})
	in.waitFor(map[string][]string{"rng-1": {"192.0.2.1"}})
}

func TestTypedClientsReadTheStore(t *testing.T) {
	c := newCluster(t)
	put(t, c.store, slice("rng-1", "rng", "192.0.2.1"), slice("geoip-1", "geoip", "192.0.2.2"), pod("a", nil))
	config, _ := c.restConfig(t)
	slicesClient, err := discoveryv1client.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	coreClient, err := corev1client.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	list, err := slicesClient.EndpointSlices("ns").List(t.Context(), metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=rng", Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 1 || list.ResourceVersion != "6" || list.Continue != "" {
		t.Fatalf("got %+v", list)
	}
	want := mustGet[*discoveryv1.EndpointSlice](t, c.store, "ns", "rng-1")
	got := list.Items[0]
	got.CreationTimestamp = want.CreationTimestamp // the same moment in another time zone
	if diff := cmp.Diff(*want, got); diff != "" {
		t.Error(diff)
	}
	if got, err := coreClient.Pods("ns").Get(t.Context(), "a", metav1.GetOptions{}); err != nil || got.UID != mustGet[*corev1.Pod](t, c.store, "ns", "a").UID {
		t.Errorf("got %v (%v)", got, err)
	}
	_, err = coreClient.Pods("ns").Get(t.Context(), "none", metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("a pod that does not exist: %v", err)
	}
	_, err = coreClient.Pods("ns").Create(t.Context(), pod("b", nil), metav1.CreateOptions{})
	if !apierrors.IsMethodNotSupported(err) {
		t.Errorf("creating a pod: %v", err)
	}
	w, err := coreClient.Pods("ns").Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=a"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	if e := <-w.ResultChan(); e.Type != "ADDED" || e.Object.(*corev1.Pod).Name != "a" {
		t.Errorf("got %+v", e)
	}
}
