package apiserver_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
)

func TestGetAnswersOneObjectWithItsKind(t *testing.T) {
	c := newCluster(t)
	put(t, c.store, pod("a", nil))
	var got corev1.Pod
	a := c.get(t, "/api/v1/namespaces/ns/pods/a")
	if err := json.Unmarshal(a.body, &got); err != nil || a.code != http.StatusOK {
		t.Fatalf("HTTP %d %s (%v)", a.code, a.body, err)
	}
	want := mustGet[*corev1.Pod](t, c.store, "ns", "a")
	want.TypeMeta = metav1.TypeMeta{Kind: "Pod", APIVersion: "v1"}
	if !got.CreationTimestamp.Equal(&want.CreationTimestamp) {
		t.Errorf("created %v over HTTP, %v in process", got.CreationTimestamp, want.CreationTimestamp)
	}
	got.CreationTimestamp = want.CreationTimestamp
	if diff := cmp.Diff(want, &got); diff != "" {
		t.Error(diff)
	}
}

func TestListSelectsByNamespaceLabelAndField(t *testing.T) {
	c := newCluster(t)
	put(t, c.store,
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "all"}, Rules: []rbacv1.PolicyRule{{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}}}},
		&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "all"}, Subjects: []rbacv1.Subject{{Kind: "Group", Name: "system:serviceaccounts:ns"}}, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "all"}},
		pod("a", map[string]string{"app": "rng"}), pod("b", map[string]string{"app": "geoip"}),
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "other", Name: "a"}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "ns"}},
	)
	for path, want := range map[string][]string{
		"/api/v1/pods":                                                                   {"a", "b", "a"},
		"/api/v1/namespaces/ns/pods":                                                     {"a", "b"},
		"/api/v1/namespaces/none/pods":                                                   {},
		"/api/v1/namespaces/ns/pods?labelSelector=app%3Drng":                             {"a"},
		"/api/v1/namespaces/ns/pods?labelSelector=app+in+(rng,geoip),!x":                 {"a", "b"},
		"/api/v1/namespaces/ns/pods?fieldSelector=metadata.name!%3Da":                    {"b"},
		"/api/v1/pods?fieldSelector=metadata.name%3Da,metadata.namespace%3Dother":        {"a"},
		"/api/v1/namespaces/ns/pods?limit=1":                                             {"a", "b"},
		"/api/v1/namespaces/ns/pods?resourceVersion=0":                                   {"a", "b"},
		"/api/v1/namespaces/ns/pods?resourceVersion=2&resourceVersionMatch=NotOlderThan": {"a", "b"},
		"/api/v1/namespaces/ns/pods?watch=false":                                         {"a", "b"},
		"/api/v1/namespaces":                                                             {"ns"},
		"/api/v1/namespaces?fieldSelector=metadata.name%3Dns":                            {"ns"},
		"/apis/rbac.authorization.k8s.io/v1/clusterroles":                                {"all"},
	} {
		if got, _ := c.get(t, path).names(t); !cmp.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", path, got, want)
		}
	}
}

func TestAListSaysItsKindAndRevisionAndItsItemsDoNot(t *testing.T) {
	c := newCluster(t)
	put(t, c.store, slice("s1", "rng"))
	body := string(c.get(t, "/apis/discovery.k8s.io/v1/namespaces/ns/endpointslices").body)
	if want := `{"kind":"EndpointSliceList","apiVersion":"discovery.k8s.io/v1","metadata":{"resourceVersion":"4"},"items":[{"metadata":{"name":"s1",`; !strings.HasPrefix(body, want) {
		t.Errorf("got %s\nwant the beginning %s", body, want)
	}
}

func TestAListOfAnExactVersionIsAsThingsWere(t *testing.T) {
	c := newCluster(t)
	put(t, c.store, pod("a", nil), pod("b", nil))
	_, before := c.get(t, "/api/v1/namespaces/ns/pods").names(t)
	put(t, c.store, pod("c", nil), pod("a", map[string]string{"new": "yes"}), configMap("ns", "unrelated"))
	apiserver.Delete[*corev1.Pod](c.store, "ns", "b")
	path := "/api/v1/namespaces/ns/pods?resourceVersionMatch=Exact&resourceVersion=" + before
	names, version := c.get(t, path).names(t)
	if diff := cmp.Diff([]string{"a", "b"}, names); diff != "" || version != before {
		t.Errorf("at %s: %s", version, diff)
	}
	if names, _ := c.get(t, path+"&labelSelector=new").names(t); len(names) > 0 {
		t.Errorf("labels are of later: %v", names)
	}
	c.store.Compact()
	if status := c.get(t, path).status(t); status.Code != http.StatusGone || status.Reason != metav1.StatusReasonExpired || status.Message != "too old resource version: "+before {
		t.Errorf("after compaction: %+v", status)
	}
}

func TestErrorsAreTheStatusThatKubernetesWrites(t *testing.T) {
	c := newCluster(t)
	everything := c.IssueToken("ns", "admin")
	put(t, c.store,
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "all"}, Rules: []rbacv1.PolicyRule{
			{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}}, {Verbs: []string{"*"}, NonResourceURLs: []string{"*"}},
		}},
		&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "all"}, Subjects: []rbacv1.Subject{{Kind: "User", Name: "system:serviceaccount:ns:admin"}}, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "all"}})
	pods := "/api/v1/namespaces/ns/pods"
	for _, test := range []struct {
		path    string
		code    int32
		reason  metav1.StatusReason
		message string
	}{
		{pods + "/none", 404, "NotFound", `pods "none" not found`},
		{"/apis/apps/v1/namespaces/ns/deployments/none", 404, "NotFound", `deployments.apps "none" not found`},
		{"/api/v1/namespaces/none", 404, "NotFound", `namespaces "none" not found`},
		{"/api/v1/secrets", 404, "NotFound", "the server could not find the requested resource"},
		{"/api/v2/pods", 404, "NotFound", "the server could not find the requested resource"},
		{"/apis/apps/v1/pods", 404, "NotFound", "the server could not find the requested resource"},
		{"/api/v1/pods/a", 404, "NotFound", "the server could not find the requested resource"},
		{pods + "/a/log", 404, "NotFound", "the server could not find the requested resource"},
		{"/apis/rbac.authorization.k8s.io/v1/namespaces/ns/clusterroles", 404, "NotFound", "the server could not find the requested resource"},
		{"/api/v1/watch", 404, "NotFound", "the server could not find the requested resource"},
		{"/nothing", 404, "NotFound", "the server could not find the requested resource"},
		{"/apis/batch/v1", 404, "NotFound", "the server could not find the requested resource"},
		{pods + "?labelSelector=a+b", 400, "BadRequest", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"},
		{pods + "?fieldSelector=a", 400, "BadRequest", "invalid selector: 'a'; can't understand 'a'"},
		{pods + "?fieldSelector=spec.x%3D1", 400, "BadRequest", `"spec.x" is not a known field selector: only "metadata.name", "metadata.namespace"`},
		{pods + "?resourceVersion=x", 400, "BadRequest", `invalid resource version: resourceVersion: Invalid value: "x": strconv.ParseUint: parsing "x": invalid syntax`},
		{pods + "/a?resourceVersion=-1", 400, "BadRequest", `invalid resource version: resourceVersion: Invalid value: "-1": strconv.ParseUint: parsing "-1": invalid syntax`},
		{pods + "?limit=x", 400, "BadRequest", `strconv.ParseInt: parsing "x": invalid syntax`},
		{pods + "?continue=x", 400, "BadRequest", "invalid continue token: this server answers every list at once and issues none"},
		{pods + "?watch=1&resourceVersion=x", 422, "Invalid", `pods "" is invalid: resourceVersion: Invalid value: "x": strconv.ParseUint: parsing "x": invalid syntax`},
		{pods + "?sendInitialEvents=true", 422, "Invalid", `ListOptions.meta.k8s.io "" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list`},
		{pods + "?watch=1&sendInitialEvents=true", 422, "Invalid", `ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan`},
		{"/api/v1/watch/namespaces/ns/pods/a?fieldSelector=metadata.name%3Db", 400, "BadRequest", "fieldSelector metadata.name doesn't match requested name"},
	} {
		status := send(t, c.request(t, http.MethodGet, test.path, everything)).status(t)
		if status.Status != "Failure" || status.Code != test.code || status.Reason != test.reason || status.Message != test.message {
			t.Errorf("%s:\n got %d %s %q\nwant %d %s %q", test.path, status.Code, status.Reason, status.Message, test.code, test.reason, test.message)
		}
	}
}

func TestWritingIsRefusedWithMethodNotAllowed(t *testing.T) {
	c := newCluster(t)
	for method, verb := range map[string]string{http.MethodPost: "create", http.MethodPut: "update", http.MethodPatch: "patch", http.MethodDelete: "delete"} {
		status := send(t, c.request(t, method, "/api/v1/namespaces/ns/pods", c.token)).status(t)
		if want := verb + ` is not supported on resources of kind "pods"`; status.Code != 405 || status.Reason != "MethodNotAllowed" || status.Message != want {
			t.Errorf("%s: %d %s %q, want %q", method, status.Code, status.Reason, status.Message, want)
		}
		if status := send(t, c.request(t, method, "/version", "")).status(t); status.Code != 401 {
			t.Errorf("%s without a token: %d, want 401", method, status.Code)
		}
	}
}

func TestOnlyJSONIsServed(t *testing.T) {
	c := newCluster(t)
	for accept, want := range map[string]int{
		"":                 200,
		"*/*":              200,
		"application/json": 200,
		"application/json;stream=watch, application/json":                                                                 200,
		"application/vnd.kubernetes.protobuf,application/json":                                                            200,
		"application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json": 200, // kubectl get
		"application/vnd.kubernetes.protobuf":                                                                             406,
		"application/json;as=Table;v=v1;g=meta.k8s.io":                                                                    406,
		"application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1":                                                406,
		"text/html": 406,
	} {
		for _, path := range []string{"/api/v1/namespaces/ns/pods", "/apis"} {
			r := c.request(t, http.MethodGet, path, c.token)
			r.Header.Set("Accept", accept)
			got := send(t, r)
			if got.code != want || got.header.Get("Content-Type") != "application/json" {
				t.Errorf("Accept %q: HTTP %d as %q, want %d", accept, got.code, got.header.Get("Content-Type"), want)
			}
			if want != http.StatusNotAcceptable {
				continue
			}
			if status := got.status(t); status.Reason != "NotAcceptable" || status.Message != "only the following media types are accepted: application/json" {
				t.Errorf("Accept %q: %s %q", accept, status.Reason, status.Message)
			}
		}
	}
}

func TestDiscoveryListsWhatIsServed(t *testing.T) {
	c := newCluster(t)
	var groups metav1.APIGroupList
	if err := json.Unmarshal(c.get(t, "/apis").body, &groups); err != nil {
		t.Fatal(err)
	}
	roots := []string{"/api/v1"}
	for _, group := range groups.Groups {
		roots = append(roots, "/apis/"+group.PreferredVersion.GroupVersion)
		var alone metav1.APIGroup
		if err := json.Unmarshal(c.get(t, "/apis/"+group.Name).body, &alone); err != nil || alone.Name != group.Name {
			t.Errorf("/apis/%s: %+v (%v)", group.Name, alone, err)
		}
	}
	served := 0
	for _, root := range roots {
		var resources metav1.APIResourceList
		if err := json.Unmarshal(c.get(t, root).body, &resources); err != nil {
			t.Fatal(err)
		}
		for _, resource := range resources.APIResources {
			served++
			path := root + "/" + resource.Name
			if resource.Namespaced {
				path = root + "/namespaces/ns/" + resource.Name
			} else {
				put(t, c.store, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "view"}, Subjects: []rbacv1.Subject{{Kind: "Group", Name: "system:authenticated"}}, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "view"}},
					&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "view"}, Rules: []rbacv1.PolicyRule{{Verbs: []string{"list"}, APIGroups: []string{"*"}, Resources: []string{"*"}}}})
			}
			var list metav1.TypeMeta
			if err := json.Unmarshal(c.get(t, path).body, &list); err != nil || list.Kind != resource.Kind+"List" || list.APIVersion != resources.GroupVersion {
				t.Errorf("%s: %+v (%v)", path, list, err)
			}
		}
	}
	if served != 12 {
		t.Errorf("%d kinds are served, want 12", served)
	}
}

func TestHealthAndVersionNeedNoTokenAndDiscoveryNeedsOne(t *testing.T) {
	c := newCluster(t)
	nobody := c.IssueToken("ns", "without-any-role")
	for path, want := range map[string][2]int{ // without a token, with one
		"/livez": {200, 200}, "/readyz": {200, 200}, "/healthz": {200, 200}, "/version": {200, 200}, "/version/": {200, 200},
		"/api": {401, 200}, "/api/v1": {401, 200}, "/apis": {401, 200}, "/apis/apps/v1": {401, 200},
		"/": {401, 403}, "/metrics": {401, 403}, "/api/v1/pods": {401, 403},
	} {
		for i, token := range []string{"", nobody} {
			if got := send(t, c.request(t, http.MethodGet, path, token)); got.code != want[i] {
				t.Errorf("%s with token %q: HTTP %d, want %d", path, token, got.code, want[i])
			}
		}
	}
	if status := send(t, c.request(t, http.MethodGet, "/metrics", nobody)).status(t); status.Message != `forbidden: User "system:serviceaccount:ns:without-any-role" cannot get path "/metrics"` {
		t.Errorf("got %q", status.Message)
	}
}
