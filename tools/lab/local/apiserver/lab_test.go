package apiserver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// patience bounds every wait for something that must happen.
const patience = 20 * time.Second

// cluster is a store served on a loopback socket, with a token that may read everything in the namespace "ns".
type cluster struct {
	*apiserver.Server
	store *apiserver.Store
	url   string
	token string
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	store := apiserver.NewStore()
	c := &cluster{Server: apiserver.NewServer(store, apiserver.Options{}), store: store}
	listening := httptest.NewServer(c.Server)
	t.Cleanup(listening.Close)
	t.Cleanup(c.Close)
	c.url = listening.URL
	c.token = c.IssueToken("ns", "reader")
	grant(t, store, "ns", "reader", everything)
	return c
}

var everything = rbacv1.PolicyRule{Verbs: []string{"get", "list", "watch"}, APIGroups: []string{"*"}, Resources: []string{"*"}}

// grant gives a service account a Role of its own name.
func grant(t *testing.T, s *apiserver.Store, namespace, serviceAccount string, rules ...rbacv1.PolicyRule) {
	t.Helper()
	meta := metav1.ObjectMeta{Namespace: namespace, Name: serviceAccount}
	put(t, s, &rbacv1.Role{ObjectMeta: meta, Rules: rules}, &rbacv1.RoleBinding{
		ObjectMeta: meta,
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: serviceAccount}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: serviceAccount},
	})
}

func slice(name, service string, addresses ...string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "ns", Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	for _, address := range addresses {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{address}})
	}
	return s
}

func pod(name string, labels map[string]string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, Labels: labels}}
}

// client has connections of its own, which are gone at the end of the test.
func client(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

type answer struct {
	code   int
	header http.Header
	body   []byte
}

func (a answer) status(t *testing.T) metav1.Status {
	t.Helper()
	var status metav1.Status
	if err := json.Unmarshal(a.body, &status); err != nil || status.Kind != "Status" || status.APIVersion != "v1" {
		t.Fatalf("HTTP %d %q is not a Status (%v)", a.code, a.body, err)
	}
	if int(status.Code) != a.code {
		t.Errorf("the Status says code %d, HTTP says %d", status.Code, a.code)
	}
	return status
}

func (c *cluster) request(t *testing.T, method, path, token string) *http.Request {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, method, c.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

func send(t *testing.T, r *http.Request) answer {
	t.Helper()
	response, err := client(t).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, body}
}

func (c *cluster) get(t *testing.T, path string) answer {
	t.Helper()
	return send(t, c.request(t, http.MethodGet, path, c.token))
}

// names of the items of a list, and its resourceVersion.
func (a answer) names(t *testing.T) ([]string, string) {
	t.Helper()
	var list metav1.PartialObjectMetadataList
	if err := json.Unmarshal(a.body, &list); err != nil || a.code != http.StatusOK || list.Items == nil {
		t.Fatalf("HTTP %d %q is not a list (%v)", a.code, a.body, err)
	}
	names := []string{}
	for _, item := range list.Items {
		names = append(names, item.Name)
	}
	return names, list.ResourceVersion
}

// openWatch is a watch as it comes over the wire.
type openWatch struct {
	t       *testing.T
	decoder *json.Decoder
}

type event struct {
	Type   string
	Object struct {
		metav1.TypeMeta
		Metadata metav1.ObjectMeta `json:"metadata"`
		Code     int
		Reason   string
		Message  string
	}
	raw []byte
}

func (c *cluster) watch(t *testing.T, path string) *openWatch {
	t.Helper()
	response, err := client(t).Do(c.request(t, http.MethodGet, path, c.token))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	if response.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(response.Body)
		t.Fatalf("watch %s: HTTP %d %s", path, response.StatusCode, body)
	}
	return &openWatch{t: t, decoder: json.NewDecoder(response.Body)}
}

func (w *openWatch) next() (event, error) {
	var raw json.RawMessage
	if err := w.decoder.Decode(&raw); err != nil {
		return event{}, err
	}
	return parseEvent(raw)
}

func parseEvent(raw []byte) (event, error) {
	e := event{raw: raw}
	return e, json.NewDecoder(bytes.NewReader(raw)).Decode(&e)
}

// want reads the next events, each as "TYPE name".
func (w *openWatch) want(events ...string) (last event) {
	w.t.Helper()
	for _, want := range events {
		e, err := w.next()
		if err != nil {
			w.t.Fatalf("want %s, got the error %v", want, err)
		}
		if got := e.Type + " " + e.Object.Metadata.Name; got != want {
			w.t.Fatalf("want %s, got %s: %s", want, got, e.raw)
		}
		last = e
	}
	return last
}

// end wants the watch to end in good order.
func (w *openWatch) end() {
	w.t.Helper()
	if e, err := w.next(); err != io.EOF {
		w.t.Fatalf("want the end, got %s (%v)", e.raw, err)
	}
}
