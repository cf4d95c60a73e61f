package apiserver_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
)

// Whatever the URL, the answer is JSON with a kind: a Status that says what HTTP says, or what was asked for. A watch
// may send any number of such events.
func FuzzRequest(f *testing.F) {
	for _, seed := range [][2]string{
		{"/api/v1/namespaces/ns/pods", "labelSelector=a%3Db&fieldSelector=metadata.name%3Da&limit=1&resourceVersion=0"},
		{"/api/v1/namespaces/ns/pods/a", "resourceVersion=1"},
		{"/api/v1/watch/namespaces/ns/endpoints/rng", ""},
		{"/apis/discovery.k8s.io/v1/endpointslices", "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=-1"},
		{"/apis/apps/v1/namespaces/ns/deployments", "resourceVersionMatch=Exact&resourceVersion=3&continue=x&limit=-1"},
		{"/api/v1/namespaces/ns/pods", "watch=true&resourceVersion=18446744073709551615"},
		{"/api/v1/namespaces/ns/status", "watch=&resourceVersion=1"},
		{"/api/v1/namespaces//pods", "labelSelector=)"},
		{"/api/v1/watch", "fieldSelector=metadata.name"},
		{"/apis", "a;b"}, {"/", "%zz"}, {"//", ""}, {"/api/v1", ""}, {"/version/", ""},
	} {
		f.Add(seed[0], seed[1], "*/*")
	}
	store := apiserver.NewStore()
	s := apiserver.NewServer(store, apiserver.Options{})
	all := metav1.ObjectMeta{Name: "all"}
	for _, obj := range []apiserver.Object{
		&rbacv1.ClusterRole{ObjectMeta: all, Rules: []rbacv1.PolicyRule{{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}}, {Verbs: []string{"*"}, NonResourceURLs: []string{"*"}}}},
		&rbacv1.ClusterRoleBinding{ObjectMeta: all, Subjects: []rbacv1.Subject{{Kind: "Group", Name: "system:authenticated"}}, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "all"}},
		pod("a", map[string]string{"a": "b"}), slice("rng-1", "rng", "192.0.2.1"),
	} {
		if err := store.Put(obj); err != nil {
			f.Fatal(err)
		}
	}
	token := s.IssueToken("ns", "any")
	f.Fuzz(func(t *testing.T, path, query, accept string) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // nothing that waits, waits
		r := (&http.Request{
			Method: http.MethodGet, URL: &url.URL{Path: path, RawQuery: query}, Host: "127.0.0.1",
			Header: http.Header{"Authorization": {"Bearer " + token}, "Accept": {accept}},
		}).WithContext(ctx)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		answer := w.Body.String()
		if answer == "ok" && w.Code == http.StatusOK { // health
			return
		}
		isWatch := strings.HasPrefix(answer, `{"type":`) || answer == "" && w.Code == http.StatusOK
		for line := range strings.Lines(answer) {
			object := []byte(line)
			if isWatch {
				var e struct{ Object json.RawMessage }
				if err := json.Unmarshal(object, &e); err != nil {
					t.Fatalf("%q: %v", line, err)
				}
				object = e.Object
			}
			var kind metav1.TypeMeta
			if err := json.Unmarshal(object, &kind); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			if kind.Kind == "" && strings.TrimSuffix(path, "/") != "/version" {
				t.Fatalf("%q has no kind", line)
			}
			if (kind.Kind == "Status") != (w.Code >= http.StatusBadRequest) && !isWatch {
				t.Fatalf("HTTP %d %q", w.Code, line)
			}
			var status metav1.Status
			if kind.Kind != "Status" {
				continue
			}
			if err := json.Unmarshal(object, &status); err != nil || status.Message == "" || status.Reason == "" || !isWatch && int(status.Code) != w.Code {
				t.Fatalf("HTTP %d %q (%v)", w.Code, line, err)
			}
		}
	})
}

func FuzzAuthorization(f *testing.F) {
	for _, seed := range []string{"", "Bearer", "Bearer x", "bearer  x", "Basic x", "Bearer x y"} {
		f.Add(seed)
	}
	s := apiserver.NewServer(apiserver.NewStore(), apiserver.Options{})
	s.IssueToken("ns", "any")
	f.Fuzz(func(t *testing.T, header string) {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/api/v1/pods", nil)
		r.Header["Authorization"] = []string{header}
		s.ServeHTTP(w, r)
		if w.Code != http.StatusUnauthorized {
			t.Errorf("%q got in: HTTP %d", header, w.Code)
		}
	})
}
