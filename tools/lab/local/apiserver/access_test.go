package apiserver_test

import (
	"net/http"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
)

func TestARequestWithoutAValidTokenIsUnauthorized(t *testing.T) {
	c := newCluster(t)
	revoked := c.IssueToken("ns", "reader")
	c.RevokeToken(revoked)
	for name, header := range map[string]string{
		"no header":       "",
		"another scheme":  "Basic " + c.token,
		"no token":        "Bearer ",
		"unknown token":   "Bearer x",
		"revoked token":   "Bearer " + revoked,
		"only the prefix": "Bearer",
	} {
		r := c.request(t, http.MethodGet, "/api/v1/namespaces/ns/pods", "")
		if header != "" {
			r.Header.Set("Authorization", header)
		}
		if status := send(t, r).status(t); status.Code != 401 || status.Reason != "Unauthorized" || status.Message != "Unauthorized" {
			t.Errorf("%s: %d %s %q", name, status.Code, status.Reason, status.Message)
		}
	}
	if got := c.get(t, "/api/v1/namespaces/ns/pods"); got.code != http.StatusOK {
		t.Errorf("revoking one token took another: HTTP %d", got.code)
	}
	r := c.request(t, http.MethodGet, "/api/v1/namespaces/ns/pods", "")
	r.Header.Set("Authorization", "bearer "+c.token)
	if got := send(t, r); got.code != http.StatusOK {
		t.Errorf("the scheme is case-sensitive: HTTP %d", got.code)
	}
}

// The rules of one Role in the namespace "ns", and what they allow there.
func TestRBACFollowsTheRules(t *testing.T) {
	rule := func(verb, group, resource string, names ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{Verbs: []string{verb}, APIGroups: []string{group}, Resources: []string{resource}, ResourceNames: names}
	}
	const (
		slices = "/apis/discovery.k8s.io/v1/namespaces/ns/endpointslices"
		pods   = "/api/v1/namespaces/ns/pods"
	)
	for _, test := range []struct {
		name  string
		rule  rbacv1.PolicyRule
		path  string
		allow bool
	}{
		{"verb", rule("list", "", "pods"), pods, true},
		{"another verb", rule("get", "", "pods"), pods, false},
		{"watch is not list", rule("list", "", "pods"), pods + "?watch=1&timeoutSeconds=-1", false},
		{"watch", rule("watch", "", "pods"), pods + "?watch=1&timeoutSeconds=-1", true},
		{"legacy watch", rule("watch", "", "pods"), "/api/v1/watch/namespaces/ns/pods/a?timeoutSeconds=-1", true},
		{"legacy watch is not get", rule("get", "", "pods"), "/api/v1/watch/namespaces/ns/pods/a", false},
		{"all verbs", rule("*", "", "pods"), pods, true},
		{"another resource", rule("list", "", "services"), pods, false},
		{"all resources", rule("list", "", "*"), pods, true},
		{"the pods of another group", rule("list", "discovery.k8s.io", "pods"), pods, false},
		{"group", rule("list", "discovery.k8s.io", "endpointslices"), slices, true},
		{"the core group is not all", rule("list", "", "endpointslices"), slices, false},
		{"all groups", rule("list", "*", "endpointslices"), slices, true},
		{"another namespace", rule("*", "*", "*"), "/api/v1/namespaces/other/pods", false},
		{"all namespaces", rule("*", "*", "*"), "/api/v1/pods", false},
		{"the namespace itself is in the namespace", rule("get", "", "namespaces"), "/api/v1/namespaces/ns", true},
		{"namespaces", rule("list", "", "namespaces"), "/api/v1/namespaces", false},
		{"named: get it", rule("get", "", "pods", "a", "b"), pods + "/b", true},
		{"named: get another", rule("get", "", "pods", "a", "b"), pods + "/c", false},
		{"named: list all", rule("list", "", "pods", "a"), pods, false},
		{"named: list it", rule("list", "", "pods", "a"), pods + "?fieldSelector=metadata.name%3Da", true},
		{"named: list another", rule("list", "", "pods", "a"), pods + "?fieldSelector=metadata.name%3Db", false},
		{"named: list all but it", rule("list", "", "pods", "a"), pods + "?fieldSelector=metadata.name!%3Da", false},
		{"named: watch it", rule("watch", "", "pods", "a"), pods + "?watch=1&timeoutSeconds=-1&fieldSelector=metadata.name%3Da", true},
		{"named: watch it by the legacy path", rule("watch", "", "pods", "a"), "/api/v1/watch/namespaces/ns/pods/a?timeoutSeconds=-1", true},
		{"named: watch another by the legacy path", rule("watch", "", "pods", "a"), "/api/v1/watch/namespaces/ns/pods/b", false},
		{"a resource is not its subresource", rule("get", "", "pods"), pods + "/a/log", false},
		{"a URL cannot be allowed in a namespace", rbacv1.PolicyRule{Verbs: []string{"*"}, NonResourceURLs: []string{"*"}}, "/metrics", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newCluster(t)
			put(t, c.store, pod("a", nil), pod("b", nil))
			grant(t, c.store, "ns", "some", test.rule)
			got := send(t, c.request(t, http.MethodGet, test.path, c.IssueToken("ns", "some")))
			if allowed := got.code != http.StatusForbidden; allowed != test.allow {
				t.Errorf("HTTP %d %s", got.code, got.body)
			}
		})
	}
}

// The bindings that can give the service account "me" of the namespace "ns" a role.
func TestRBACFollowsTheSubjects(t *testing.T) {
	for _, test := range []struct {
		name    string
		subject rbacv1.Subject
		local   bool // allowed by a RoleBinding in "ns"
		global  bool // allowed by a ClusterRoleBinding
	}{
		{"service account", rbacv1.Subject{Kind: "ServiceAccount", Namespace: "ns", Name: "me"}, true, true},
		{"service account of the binding's namespace", rbacv1.Subject{Kind: "ServiceAccount", Name: "me"}, true, false},
		{"service account of another namespace", rbacv1.Subject{Kind: "ServiceAccount", Namespace: "other", Name: "me"}, false, false},
		{"another service account", rbacv1.Subject{Kind: "ServiceAccount", Namespace: "ns", Name: "you"}, false, false},
		{"user", rbacv1.Subject{Kind: "User", Name: "system:serviceaccount:ns:me"}, true, true},
		{"another user", rbacv1.Subject{Kind: "User", Name: "me"}, false, false},
		{"all service accounts", rbacv1.Subject{Kind: "Group", Name: "system:serviceaccounts"}, true, true},
		{"all of the namespace", rbacv1.Subject{Kind: "Group", Name: "system:serviceaccounts:ns"}, true, true},
		{"all of another namespace", rbacv1.Subject{Kind: "Group", Name: "system:serviceaccounts:other"}, false, false},
		{"all users", rbacv1.Subject{Kind: "Group", Name: "system:authenticated"}, true, true},
		{"nobody", rbacv1.Subject{Kind: "Group", Name: "system:unauthenticated"}, false, false},
		{"an unknown kind", rbacv1.Subject{Kind: "Robot", Name: "me"}, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			view := rbacv1.RoleRef{Kind: "ClusterRole", Name: "view"}
			for _, binding := range []struct {
				obj  apiserver.Object
				want bool
			}{
				{&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "b"}, Subjects: []rbacv1.Subject{test.subject}, RoleRef: view}, test.local},
				{&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "b"}, Subjects: []rbacv1.Subject{test.subject}, RoleRef: view}, test.global},
			} {
				c := newCluster(t)
				put(t, c.store, binding.obj, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "view"}, Rules: []rbacv1.PolicyRule{
					{Verbs: []string{"list"}, APIGroups: []string{""}, Resources: []string{"pods"}},
				}})
				got := send(t, c.request(t, http.MethodGet, "/api/v1/namespaces/ns/pods", c.IssueToken("ns", "me")))
				if allowed := got.code == http.StatusOK; allowed != binding.want {
					t.Errorf("%T: HTTP %d %s", binding.obj, got.code, got.body)
				}
			}
		})
	}
}

func TestRBACIsJudgedByWhatIsInTheStoreNow(t *testing.T) {
	c := newCluster(t)
	if got := c.get(t, "/api/v1/namespaces/ns/pods"); got.code != http.StatusOK {
		t.Fatalf("HTTP %d %s", got.code, got.body)
	}
	apiserver.Delete[*rbacv1.Role](c.store, "ns", "reader")
	status := c.get(t, "/api/v1/namespaces/ns/pods").status(t)
	if want := `pods is forbidden: User "system:serviceaccount:ns:reader" cannot list resource "pods" in API group "" in the namespace "ns": RBAC: role.rbac.authorization.k8s.io "reader" not found`; status.Code != 403 || status.Message != want {
		t.Errorf("without the Role: %d\n got %s\nwant %s", status.Code, status.Message, want)
	}
	apiserver.Delete[*rbacv1.RoleBinding](c.store, "ns", "reader")
	for path, want := range map[string]string{
		"/apis/discovery.k8s.io/v1/namespaces/ns/endpointslices": `endpointslices.discovery.k8s.io is forbidden: User "system:serviceaccount:ns:reader" cannot list resource "endpointslices" in API group "discovery.k8s.io" in the namespace "ns"`,
		"/api/v1/watch/namespaces/ns/endpoints/rng":              `endpoints "rng" is forbidden: User "system:serviceaccount:ns:reader" cannot watch resource "endpoints" in API group "" in the namespace "ns"`,
		"/apis/apps/v1/deployments":                              `deployments.apps is forbidden: User "system:serviceaccount:ns:reader" cannot list resource "deployments" in API group "apps" at the cluster scope`,
		"/api/v1/namespaces/ns/pods/a/log":                       `pods "a" is forbidden: User "system:serviceaccount:ns:reader" cannot get resource "pods/log" in API group "" in the namespace "ns"`,
		"/api/v1/namespaces/ns/%3Cb%3E":                          `<b> is forbidden: User "system:serviceaccount:ns:reader" cannot list resource "&lt;b&gt;" in API group "" in the namespace "ns"`,
	} {
		if status := c.get(t, path).status(t); status.Code != 403 || status.Reason != "Forbidden" || status.Message != want {
			t.Errorf("%s: %d\n got %s\nwant %s", path, status.Code, status.Message, want)
		}
	}
}

func TestUsageCountsPerNamespace(t *testing.T) {
	c := newCluster(t)
	put(t, c.store, pod("a", nil), pod("b", nil))
	w := c.watch(t, "/api/v1/namespaces/ns/pods?watch=1&timeoutSeconds=600")
	first, _ := w.next()
	second, err := w.next()
	if err != nil {
		t.Fatal(err)
	}
	bytes := int64(len(first.raw) + len("\n") + len(second.raw) + len("\n"))
	c.get(t, "/api/v1/namespaces/ns/pods")
	c.get(t, "/api/v1/namespaces/other/pods") // refused, and yet a request
	send(t, c.request(t, http.MethodGet, "/api/v1/namespaces/ns/pods", "nobody's"))
	if got, want := c.Usage("ns"), (apiserver.Usage{Requests: 3, WatchEvents: 2, WatchBytes: bytes}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	send(t, c.request(t, http.MethodGet, "/api/v1/namespaces/ns/pods", c.IssueToken("other", "reader")))
	if got, want := c.Usage("other"), (apiserver.Usage{Requests: 1}); got != want {
		t.Errorf("other: got %+v, want %+v", got, want)
	}
}
