package conformance

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// maxEndpoints is where the endpoints controller truncates Endpoints (upstream: maxCapacity).
const maxEndpoints = 1000

// condition of a pod, as the conditions of its endpoint say it.
type condition int

const (
	ready       condition = iota
	unready               // not ready, and not serving
	unset                 // no conditions at all, which the API says to take for ready
	terminating           // deleted, and still serving
	ended                 // deleted, and no longer serving
)

// pod is one backend of a Service, with the address that it has in one slice.
type pod struct {
	ip         string
	name       string // made from ip if empty
	node, zone string
	condition  condition
	hints      []string // zones that should use it
}

// at is a ready pod for each address.
func at(ips ...string) []pod {
	pods := make([]pod, len(ips))
	for i, ip := range ips {
		pods[i] = pod{ip: ip}
	}

	return pods
}

// but returns a pod in another condition.
func (p pod) but(c condition) pod {
	p.condition = c

	return p
}

func (p pod) podName() string {
	return cmp.Or(p.name, "pod-"+strings.NewReplacer(".", "-", ":", "-").Replace(p.ip))
}

// port of a Service, as pods have it.
type port struct {
	name   string
	number int32
}

// The ports of a Service, unless a behaviour is about them.
var usual = []port{{"grpc", 8081}, {"http-admin", 8080}}

// slice is one EndpointSlice.
type slice struct {
	name  string
	pods  []pod
	ports []port // nil: the usual
	bare  bool   // has no ports
}

func sliceOf(name string, pods ...pod) slice { return slice{name: name, pods: pods} }

// service is a Service, which the suite writes to the API in both forms.
type service struct {
	cluster   Cluster
	namespace string
	name      string
	slices    map[string]slice
}

// set writes slices, and the Endpoints that follow from all of them.
func (s *service) set(ctx context.Context, changed ...slice) error {
	if len(s.slices) == 0 {
		if err := s.cluster.Put(ctx, s.object()); err != nil {
			return fmt.Errorf("write the Service: %w", err)
		}
	}
	for _, each := range changed {
		s.slices[each.name] = each
		if err := s.cluster.Put(ctx, s.endpointSlice(each)); err != nil {
			return fmt.Errorf("write a slice: %w", err)
		}
	}

	return s.mirror(ctx)
}

// drop deletes one slice.
func (s *service) drop(ctx context.Context, name string) error {
	if err := s.cluster.Delete(ctx, s.endpointSlice(s.slices[name])); err != nil {
		return fmt.Errorf("delete a slice: %w", err)
	}
	delete(s.slices, name)

	return s.mirror(ctx)
}

// remove deletes the Service and all that belongs to it.
func (s *service) remove(ctx context.Context) error {
	objects := []Object{s.object(), s.endpoints()}
	for _, each := range s.slices {
		objects = append(objects, s.endpointSlice(each))
	}
	clear(s.slices)
	for _, object := range objects {
		if err := s.cluster.Delete(ctx, object); err != nil {
			return fmt.Errorf("delete the Service: %w", err)
		}
	}

	return nil
}

func (s *service) mirror(ctx context.Context) error {
	if err := s.cluster.Put(ctx, s.endpoints()); err != nil {
		return fmt.Errorf("write Endpoints: %w", err)
	}

	return nil
}

func (s *service) object() *corev1.Service {
	object := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: s.name},
		Spec:       corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone},
	}
	for _, p := range usual {
		object.Spec.Ports = append(object.Spec.Ports, corev1.ServicePort{Name: p.name, Port: p.number, TargetPort: intstr.FromInt32(p.number)})
	}

	return object
}

func (s *service) endpointSlice(from slice) *discoveryv1.EndpointSlice {
	object := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: s.namespace, Name: s.name + "-" + from.name,
			Labels: map[string]string{discoveryv1.LabelServiceName: s.name, discoveryv1.LabelManagedBy: "conformance"},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{},
		Ports:       []discoveryv1.EndpointPort{},
	}
	for _, p := range from.portsOf() {
		object.Ports = append(object.Ports, discoveryv1.EndpointPort{Name: new(p.name), Port: new(p.number), Protocol: new(corev1.ProtocolTCP)})
	}
	for _, p := range from.pods {
		if isIPv6(p.ip) {
			object.AddressType = discoveryv1.AddressTypeIPv6
		}
		object.Endpoints = append(object.Endpoints, s.endpoint(p))
	}

	return object
}

func (s slice) portsOf() []port {
	switch {
	case s.bare:
		return nil
	case s.ports == nil:
		return usual
	}

	return s.ports
}

func (s *service) endpoint(p pod) discoveryv1.Endpoint {
	endpoint := discoveryv1.Endpoint{
		Addresses: []string{p.ip},
		TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: s.namespace, Name: p.podName()},
	}
	if p.node != "" {
		endpoint.NodeName = new(p.node)
	}
	if p.zone != "" {
		endpoint.Zone = new(p.zone)
	}
	if len(p.hints) > 0 {
		endpoint.Hints = &discoveryv1.EndpointHints{}
		for _, zone := range p.hints {
			endpoint.Hints.ForZones = append(endpoint.Hints.ForZones, discoveryv1.ForZone{Name: zone})
		}
	}
	if p.condition != unset {
		endpoint.Conditions = discoveryv1.EndpointConditions{
			Ready:       new(p.condition == ready),
			Serving:     new(p.condition == ready || p.condition == terminating),
			Terminating: new(p.condition == terminating || p.condition == ended),
		}
	}

	return endpoint
}

// endpoints makes the Endpoints object as the endpoints controller would: ready pods in addresses, unready ones in
// notReadyAddresses, terminating ones in neither (upstream: ShouldPodBeInEndpoints); each pod once; one address family,
// which is the Service's first (upstream: podToEndpointAddressForService); a subset for each set of ports
// (RepackSubsets, but in the order of the slices); 1000 addresses at most, the ready ones first (truncateEndpoints).
func (s *service) endpoints() *corev1.Endpoints { //nolint:staticcheck // deprecated, yet it is what kuberesolver v5 watches
	object := &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{ //nolint:staticcheck // as above
		Namespace: s.namespace, Name: s.name, Labels: map[string]string{discoveryv1.LabelSkipMirror: "true"},
	}}
	first := s.firstFamily()
	subsets, seen := map[string]int{}, map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(s.slices)) {
		from := s.slices[name]
		ports := fmt.Sprint(from.portsOf())
		for _, p := range from.pods {
			if isIPv6(p.ip) != first || p.condition == terminating || p.condition == ended || seen[ports+p.ip] {
				continue
			}
			seen[ports+p.ip] = true
			i, known := subsets[ports]
			if !known {
				i = len(object.Subsets)
				subsets[ports] = i
				object.Subsets = append(object.Subsets, corev1.EndpointSubset{Ports: from.endpointPorts()}) //nolint:staticcheck // as above
			}
			s.addTo(&object.Subsets[i], p)
		}
	}
	truncate(object)

	return object
}

// firstFamily is whether the Service's first address family is IPv6: only if it has no other.
func (s *service) firstFamily() bool {
	for _, each := range s.slices {
		if slices.ContainsFunc(each.pods, func(p pod) bool { return !isIPv6(p.ip) }) {
			return false
		}
	}

	return true
}

func (s slice) endpointPorts() []corev1.EndpointPort {
	var ports []corev1.EndpointPort
	for _, p := range s.portsOf() {
		ports = append(ports, corev1.EndpointPort{Name: p.name, Port: p.number, Protocol: corev1.ProtocolTCP})
	}

	return ports
}

func (s *service) addTo(subset *corev1.EndpointSubset, p pod) { //nolint:staticcheck // as above
	address := corev1.EndpointAddress{IP: p.ip, TargetRef: s.endpoint(p).TargetRef}
	if p.condition == unready {
		subset.NotReadyAddresses = append(subset.NotReadyAddresses, address)
	} else {
		subset.Addresses = append(subset.Addresses, address)
	}
}

// truncate cuts subset after subset. Upstream spreads the cut in proportion, which is the same where there is one.
func truncate(object *corev1.Endpoints) { //nolint:staticcheck // as above
	left := maxEndpoints
	cut := func(addresses []corev1.EndpointAddress) []corev1.EndpointAddress {
		kept := addresses[:min(left, len(addresses))]
		left -= len(kept)
		if len(kept) < len(addresses) {
			object.Annotations = map[string]string{corev1.EndpointsOverCapacity: "truncated"}
		}

		return kept
	}
	for i := range object.Subsets {
		object.Subsets[i].Addresses = cut(object.Subsets[i].Addresses)
	}
	for i := range object.Subsets {
		object.Subsets[i].NotReadyAddresses = cut(object.Subsets[i].NotReadyAddresses)
	}
}

func isIPv6(ip string) bool { return strings.Contains(ip, ":") }
