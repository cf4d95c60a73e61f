package controller

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
)

const (
	// slicesManagedBy marks the slices of the EndpointSlice controller; others may exist and are left alone.
	slicesManagedBy = "endpointslice-controller.k8s.io"
	// maxPerSlice is upstream's default for --max-endpoints-per-slice.
	maxPerSlice = 100
)

// writeSlices makes the slices of a Service hold its backends. A backend stays in its slice. A slice that is no
// longer needed is used for what needs a new one; and a Service without any backend keeps one slice, empty and
// without ports. So does upstream.
func (c *Controller) writeSlices(service *corev1.Service, backends []backend, existing []*discoveryv1.EndpointSlice) error {
	var wanted, spare []*discoveryv1.EndpointSlice
	unused := slices.Clone(existing)
	for _, group := range byPorts(backends) {
		var kept []*discoveryv1.EndpointSlice
		kept, unused = c.fill(group, unused)
		wanted = append(wanted, kept...)
	}
	spare = unused
	if len(wanted) == 0 {
		wanted = []*discoveryv1.EndpointSlice{{Endpoints: []discoveryv1.Endpoint{}, Ports: []discoveryv1.EndpointPort{}}}
	}
	for _, slice := range wanted {
		if slice.Name == "" && len(spare) > 0 {
			slice.Name = spare[0].Name
			spare = spare[1:]
		}
		if slice.Name == "" {
			slice.Name = service.Name + "-" + rand.String(5)
		}
		slice.Namespace, slice.GenerateName = service.Namespace, service.Name+"-"
		slice.AddressType = discoveryv1.AddressTypeIPv4
		slice.Labels = labelsFor(service, map[string]string{
			discoveryv1.LabelServiceName: service.Name, discoveryv1.LabelManagedBy: slicesManagedBy,
		})
		slice.OwnerReferences = []metav1.OwnerReference{
			*metav1.NewControllerRef(service, corev1.SchemeGroupVersion.WithKind("Service")),
		}
		if err := c.store.Put(slice); err != nil {
			return err
		}
	}
	for _, slice := range spare {
		apiserver.Delete[*discoveryv1.EndpointSlice](c.store, slice.Namespace, slice.Name)
	}

	return nil
}

// fill puts a group of backends with the same ports into slices: each into the existing one that has it, the rest
// where there is room, and what is left into new ones, which have no name yet. It returns the slices it used and
// those it did not.
func (c *Controller) fill(group []backend, existing []*discoveryv1.EndpointSlice) (used, unused []*discoveryv1.EndpointSlice) {
	ports := endpointPorts(group[0].ports)
	left := make(map[types.UID]discoveryv1.Endpoint)
	for _, b := range group {
		left[b.pod.UID] = c.endpoint(b)
	}
	for _, slice := range existing {
		var kept []discoveryv1.Endpoint
		if sameJSON(slice.Ports, ports) {
			for _, old := range slice.Endpoints {
				if current, ok := left[old.TargetRef.UID]; ok {
					kept = append(kept, current)
					delete(left, old.TargetRef.UID)
				}
			}
		}
		if len(kept) == 0 {
			unused = append(unused, slice)

			continue
		}
		used = append(used, &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: slice.Name}, Endpoints: kept, Ports: ports})
	}
	for _, b := range group { // not over the map, whose order is random
		endpoint, ok := left[b.pod.UID]
		if !ok {
			continue
		}
		room := slices.IndexFunc(used, func(slice *discoveryv1.EndpointSlice) bool { return len(slice.Endpoints) < maxPerSlice })
		if room < 0 {
			room = len(used)
			used = append(used, &discoveryv1.EndpointSlice{Ports: ports})
		}
		used[room].Endpoints = append(used[room].Endpoints, endpoint)
	}

	return used, unused
}

func (c *Controller) endpoint(b backend) discoveryv1.Endpoint {
	endpoint := discoveryv1.Endpoint{
		Addresses:  []string{b.addr.String()},
		Conditions: discoveryv1.EndpointConditions{Ready: &b.ready, Serving: &b.serving, Terminating: &b.terminating},
		TargetRef:  targetRef(b.pod),
		NodeName:   pointerTo(b.pod.Spec.NodeName),
	}
	for _, node := range c.nodes {
		if node.Name == b.pod.Spec.NodeName {
			endpoint.Zone = pointerTo(node.Zone)
		}
	}

	return endpoint
}

func endpointPorts(ports []port) []discoveryv1.EndpointPort {
	made := make([]discoveryv1.EndpointPort, 0, len(ports))
	for _, p := range ports {
		made = append(made, discoveryv1.EndpointPort{
			Name: new(p.name), Protocol: new(corev1.Protocol(p.protocol)), Port: new(p.number), AppProtocol: pointerTo(p.appProtocol),
		})
	}

	return made
}
