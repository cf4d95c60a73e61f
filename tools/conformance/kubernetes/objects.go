package kubernetes

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/evenkeel/evenkeel/tools/conformance"
)

// Put replaces an object, or creates it if there is none. For these kinds the API takes an update without a
// resourceVersion as one of whatever there is.
func (c *Cluster) Put(ctx context.Context, object conformance.Object) error {
	return put(ctx, c.clients, object)
}

// Delete deletes an object.
func (c *Cluster) Delete(ctx context.Context, object conformance.Object) error {
	return remove(ctx, c.clients, object)
}

func put(ctx context.Context, clients kubernetes.Interface, object conformance.Object) error {
	api, resource, err := endpointOf(clients, object)
	if err != nil {
		return err
	}
	err = api.Put().Namespace(object.GetNamespace()).Resource(resource).Name(object.GetName()).Body(object).Do(ctx).Error()
	if apierrors.IsNotFound(err) {
		err = api.Post().Namespace(object.GetNamespace()).Resource(resource).Body(object).Do(ctx).Error()
	}

	return err
}

func remove(ctx context.Context, clients kubernetes.Interface, object conformance.Object) error {
	api, resource, err := endpointOf(clients, object)
	if err != nil {
		return err
	}
	err = api.Delete().Namespace(object.GetNamespace()).Resource(resource).Name(object.GetName()).Do(ctx).Error()
	if apierrors.IsNotFound(err) {
		return nil
	}

	return err
}

// endpointOf is where the API serves a kind.
func endpointOf(clients kubernetes.Interface, object conformance.Object) (api rest.Interface, resource string, err error) {
	switch object.(type) {
	case *corev1.Service:
		return clients.CoreV1().RESTClient(), "services", nil
	case *corev1.Endpoints: //nolint:staticcheck // deprecated, yet it is what kuberesolver v5 watches
		return clients.CoreV1().RESTClient(), "endpoints", nil
	case *discoveryv1.EndpointSlice:
		return clients.DiscoveryV1().RESTClient(), "endpointslices", nil
	case *rbacv1.Role:
		return clients.RbacV1().RESTClient(), "roles", nil
	case *rbacv1.RoleBinding:
		return clients.RbacV1().RESTClient(), "rolebindings", nil
	}

	return nil, "", fmt.Errorf("%T is not a kind that the suite writes", object)
}
