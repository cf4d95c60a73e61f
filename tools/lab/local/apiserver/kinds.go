package apiserver

import (
	"fmt"
	"reflect"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// kind ties a Go type to where the API serves it. Everything that differs between kinds is in this one struct.
type kind struct {
	group, version   string
	name             string // as in "kind:", such as "EndpointSlice"
	plural, singular string // as in the path and in messages
	short            []string
	categories       []string
	namespaced       bool
	prototype        Object
}

// kinds is what this server serves, in the order in which discovery lists it.
var kinds = []*kind{
	{version: "v1", name: "ConfigMap", plural: "configmaps", singular: "configmap", short: []string{"cm"}, namespaced: true, prototype: &corev1.ConfigMap{}},
	{version: "v1", name: "Endpoints", plural: "endpoints", singular: "endpoints", short: []string{"ep"}, namespaced: true, prototype: &corev1.Endpoints{}}, //nolint:staticcheck // deprecated, yet it is what kuberesolver v5 watches
	{version: "v1", name: "Namespace", plural: "namespaces", singular: "namespace", short: []string{"ns"}, prototype: &corev1.Namespace{}},
	{version: "v1", name: "Pod", plural: "pods", singular: "pod", short: []string{"po"}, categories: []string{"all"}, namespaced: true, prototype: &corev1.Pod{}},
	{version: "v1", name: "ServiceAccount", plural: "serviceaccounts", singular: "serviceaccount", short: []string{"sa"}, namespaced: true, prototype: &corev1.ServiceAccount{}},
	{version: "v1", name: "Service", plural: "services", singular: "service", short: []string{"svc"}, categories: []string{"all"}, namespaced: true, prototype: &corev1.Service{}},
	{group: "apps", version: "v1", name: "Deployment", plural: "deployments", singular: "deployment", short: []string{"deploy"}, categories: []string{"all"}, namespaced: true, prototype: &appsv1.Deployment{}},
	{group: "discovery.k8s.io", version: "v1", name: "EndpointSlice", plural: "endpointslices", singular: "endpointslice", namespaced: true, prototype: &discoveryv1.EndpointSlice{}},
	{group: "rbac.authorization.k8s.io", version: "v1", name: "ClusterRoleBinding", plural: "clusterrolebindings", singular: "clusterrolebinding", prototype: &rbacv1.ClusterRoleBinding{}},
	{group: "rbac.authorization.k8s.io", version: "v1", name: "ClusterRole", plural: "clusterroles", singular: "clusterrole", prototype: &rbacv1.ClusterRole{}},
	{group: "rbac.authorization.k8s.io", version: "v1", name: "RoleBinding", plural: "rolebindings", singular: "rolebinding", namespaced: true, prototype: &rbacv1.RoleBinding{}},
	{group: "rbac.authorization.k8s.io", version: "v1", name: "Role", plural: "roles", singular: "role", namespaced: true, prototype: &rbacv1.Role{}},
}

var kindOfType = func() map[reflect.Type]*kind {
	byType := make(map[reflect.Type]*kind, len(kinds))
	for _, k := range kinds {
		byType[reflect.TypeOf(k.prototype)] = k
	}
	return byType
}()

// kindFor finds the kind of a Go type, or nil.
func kindFor[T Object]() *kind {
	return kindOfType[reflect.TypeFor[T]()]
}

// kindAt finds the kind served at a path, or nil.
func kindAt(gv schema.GroupVersion, plural string) *kind {
	for _, k := range kinds {
		if k.groupVersion() == gv && k.plural == plural {
			return k
		}
	}
	return nil
}

func (k *kind) groupVersion() schema.GroupVersion {
	return schema.GroupVersion{Group: k.group, Version: k.version}
}

// typed puts kind and apiVersion in front of an object that is encoded without them.
func (k *kind) typed(encoded []byte) []byte {
	head := fmt.Sprintf(`{"kind":%q,"apiVersion":%q,`, k.name, k.groupVersion())
	return append([]byte(head), encoded[1:]...)
}
