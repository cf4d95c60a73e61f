package controller

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
)

// Endpoints are deprecated since Kubernetes 1.33, and still what kuberesolver v5 watches. A cluster still writes
// them, with this label on them.
const (
	endpointsManagedByLabel = "endpoints.kubernetes.io/managed-by"
	endpointsManagedBy      = "endpoint-controller"
)

// endpointsObject has the name of its Service.
type endpointsObject = corev1.Endpoints //nolint:staticcheck // see above

// writeEndpoints makes the Endpoints of a Service hold its backends: the ready ones as addresses, the others apart. A
// terminating pod is in neither, unless the Service publishes pods that are not ready.
func (c *Controller) writeEndpoints(service *corev1.Service, backends []backend) error {
	endpoints := &endpointsObject{ObjectMeta: metav1.ObjectMeta{
		Namespace: service.Namespace, Name: service.Name,
		Labels: labelsFor(service, map[string]string{endpointsManagedByLabel: endpointsManagedBy}),
	}}
	listed := slices.DeleteFunc(slices.Clone(backends), func(b backend) bool {
		return b.terminating && !service.Spec.PublishNotReadyAddresses
	})
	for _, group := range byPorts(listed) {
		subset := corev1.EndpointSubset{} //nolint:staticcheck // see above
		for _, b := range group {
			address := corev1.EndpointAddress{
				IP: b.addr.String(), NodeName: pointerTo(b.pod.Spec.NodeName), TargetRef: targetRef(b.pod),
			}
			if b.ready {
				subset.Addresses = append(subset.Addresses, address)
			} else {
				subset.NotReadyAddresses = append(subset.NotReadyAddresses, address)
			}
		}
		for _, p := range group[0].ports {
			subset.Ports = append(subset.Ports, corev1.EndpointPort{
				Name: p.name, Port: p.number, Protocol: corev1.Protocol(p.protocol), AppProtocol: pointerTo(p.appProtocol),
			})
		}
		endpoints.Subsets = append(endpoints.Subsets, subset)
	}

	return c.store.Put(endpoints)
}

// removeOrphanEndpoints removes the Endpoints of Services that are gone.
func (c *Controller) removeOrphanEndpoints() {
	for _, endpoints := range apiserver.List[*endpointsObject](c.store, "") {
		_, wanted := apiserver.Get[*corev1.Service](c.store, endpoints.Namespace, endpoints.Name)
		if !wanted && endpoints.Labels[endpointsManagedByLabel] == endpointsManagedBy {
			apiserver.Delete[*endpointsObject](c.store, endpoints.Namespace, endpoints.Name)
		}
	}
}
