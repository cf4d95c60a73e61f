package apiserver

import (
	"net/http"
	"runtime"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"
)

// serveDiscovery answers what clients ask for before they ask for objects: who are you, are you well, what is served.
func serveDiscovery(w http.ResponseWriter, r *http.Request, req *request) error {
	path := strings.TrimSuffix(req.path, "/")
	switch path {
	case "/livez", "/readyz", "/healthz":
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok")) // a client that has gone needs no answer
		return nil
	case "/version":
		writeObject(w, http.StatusOK, serverVersion)
		return nil
	}
	answer := discoveryDocument(path, r.Host)
	switch {
	case answer == nil:
		return notServed(req)
	case !acceptsJSON(r.Header.Values("Accept")):
		return errNotAcceptable(req)
	}
	writeObject(w, http.StatusOK, answer)
	return nil
}

// serverVersion is of the Kubernetes whose behaviour this server follows. Clients compare it with their own.
var serverVersion = version.Info{
	Major: "1", Minor: "36", GitVersion: "v1.36.3+evenkeel-local",
	GoVersion: runtime.Version(), Compiler: runtime.Compiler, Platform: runtime.GOOS + "/" + runtime.GOARCH,
}

// discoveryDocument is nil for a path that is not a discovery document.
func discoveryDocument(path, host string) any {
	groups := servedGroups()
	switch path {
	case "/api":
		return metav1.APIVersions{
			TypeMeta:                   metav1.TypeMeta{Kind: "APIVersions"},
			Versions:                   []string{"v1"},
			ServerAddressByClientCIDRs: []metav1.ServerAddressByClientCIDR{{ClientCIDR: "0.0.0.0/0", ServerAddress: host}},
		}
	case "/apis":
		return metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}, Groups: groups}
	}
	for _, group := range groups {
		if path == "/apis/"+group.Name {
			group.TypeMeta = metav1.TypeMeta{Kind: "APIGroup", APIVersion: "v1"}
			return group
		}
	}
	resources := metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}}
	for _, k := range kinds {
		root := "/apis/"
		if k.group == "" {
			root = "/api/"
		}
		if path == root+k.groupVersion().String() {
			resources.GroupVersion = k.groupVersion().String()
			resources.APIResources = append(resources.APIResources, metav1.APIResource{
				Name: k.plural, SingularName: k.singular, Namespaced: k.namespaced, Kind: k.name,
				Verbs: metav1.Verbs{"get", "list", "watch"}, ShortNames: k.short, Categories: k.categories,
			})
		}
	}
	if resources.GroupVersion == "" {
		return nil
	}
	return resources
}

// servedGroups lists the named groups; the core group has a root of its own.
func servedGroups() []metav1.APIGroup {
	var groups []metav1.APIGroup
	for _, k := range kinds {
		if k.group == "" || len(groups) > 0 && groups[len(groups)-1].Name == k.group {
			continue
		}
		only := metav1.GroupVersionForDiscovery{GroupVersion: k.groupVersion().String(), Version: k.version}
		groups = append(groups, metav1.APIGroup{Name: k.group, Versions: []metav1.GroupVersionForDiscovery{only}, PreferredVersion: only})
	}
	return groups
}
