package controller

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
)

// port is one port of a Service on a pod.
type port struct {
	name, protocol, appProtocol string
	number                      int32
}

// backend is a pod of a Service, in neutral terms: EndpointSlices and Endpoints are both made of them.
type backend struct {
	pod   *corev1.Pod
	addr  netip.Addr
	ports []port
	// ready is what a client should go by. It is never so for a terminating pod, unless the Service publishes pods
	// that are not ready.
	ready, serving, terminating bool
}

// reconcileEndpoints writes the EndpointSlices and Endpoints of every Service with a selector, and removes those of
// Services that are gone.
func (c *Controller) reconcileEndpoints() error {
	pods := make(map[string][]*corev1.Pod)
	for _, pod := range apiserver.List[*corev1.Pod](c.store, "") {
		pods[pod.Namespace] = append(pods[pod.Namespace], pod)
	}
	slicesOf := make(map[types.NamespacedName][]*discoveryv1.EndpointSlice)
	for _, slice := range apiserver.List[*discoveryv1.EndpointSlice](c.store, "") {
		if slice.Labels[discoveryv1.LabelManagedBy] == slicesManagedBy {
			key := types.NamespacedName{Namespace: slice.Namespace, Name: slice.Labels[discoveryv1.LabelServiceName]}
			slicesOf[key] = append(slicesOf[key], slice)
		}
	}

	var services []*corev1.Service
	backends := make(map[*corev1.Service][]backend)
	ready := make(map[types.NamespacedName]bool)
	for _, service := range apiserver.List[*corev1.Service](c.store, "") {
		if len(service.Spec.Selector) == 0 || service.Spec.Type == corev1.ServiceTypeExternalName {
			continue
		}
		services = append(services, service)
		backends[service] = backendsOf(service, pods[service.Namespace])
		for _, b := range backends[service] {
			if b.ready {
				ready[types.NamespacedName{Namespace: b.pod.Namespace, Name: b.pod.Name}] = true
			}
		}
	}
	// Before it is written: nobody can act on it earlier than the record says.
	c.lives.setReady(ready, time.Now())
	for _, service := range services {
		key := types.NamespacedName{Namespace: service.Namespace, Name: service.Name}
		if err := c.writeSlices(service, backends[service], slicesOf[key]); err != nil {
			return fmt.Errorf("service %s: EndpointSlices: %w", key, err)
		}
		if err := c.writeEndpoints(service, backends[service]); err != nil {
			return fmt.Errorf("service %s: Endpoints: %w", key, err)
		}
		delete(slicesOf, key)
	}
	for _, orphans := range slicesOf {
		for _, slice := range orphans {
			apiserver.Delete[*discoveryv1.EndpointSlice](c.store, slice.Namespace, slice.Name)
		}
	}
	c.removeOrphanEndpoints()

	return nil
}

// backendsOf has the pods of a Service that have an address, by address.
func backendsOf(service *corev1.Service, pods []*corev1.Pod) []backend {
	selector := labels.SelectorFromSet(service.Spec.Selector)
	var backends []backend
	for _, pod := range pods {
		addr, err := netip.ParseAddr(pod.Status.PodIP)
		if err != nil || !selector.Matches(labels.Set(pod.Labels)) {
			continue // most pods have no address for a moment
		}
		b := backend{pod: pod, addr: addr, ports: portsOf(service, pod), serving: readySince(pod) != nil, terminating: pod.DeletionTimestamp != nil}
		b.ready = b.serving && !b.terminating || service.Spec.PublishNotReadyAddresses
		backends = append(backends, b)
	}
	slices.SortFunc(backends, func(a, b backend) int { return a.addr.Compare(b.addr) })

	return backends
}

// portsOf resolves the target ports of a Service on a pod: a number is itself, a name is that of a container's port.
// A port that the pod does not have is left out.
func portsOf(service *corev1.Service, pod *corev1.Pod) []port {
	var ports []port
	for _, each := range service.Spec.Ports {
		p := port{name: each.Name, protocol: string(cmp.Or(each.Protocol, corev1.ProtocolTCP))}
		if each.AppProtocol != nil {
			p.appProtocol = *each.AppProtocol
		}
		switch {
		case each.TargetPort.Type == intstr.String:
			p.number = containerPort(pod, each.TargetPort.StrVal, p.protocol)
		case each.TargetPort.IntVal != 0:
			p.number = each.TargetPort.IntVal
		default:
			p.number = each.Port
		}
		if p.number != 0 {
			ports = append(ports, p)
		}
	}

	return ports
}

func containerPort(pod *corev1.Pod, name, protocol string) int32 {
	for _, container := range pod.Spec.Containers {
		for _, each := range container.Ports {
			if each.Name == name && string(cmp.Or(each.Protocol, corev1.ProtocolTCP)) == protocol {
				return each.ContainerPort
			}
		}
	}

	return 0
}

// byPorts sorts backends by their ports, as pods of different versions may have different ones.
func byPorts(backends []backend) [][]backend {
	groups := make(map[string][]backend)
	for _, b := range backends {
		key := fmt.Sprint(b.ports)
		groups[key] = append(groups[key], b)
	}
	sorted := make([][]backend, 0, len(groups))
	for _, key := range slices.Sorted(maps.Keys(groups)) {
		sorted = append(sorted, groups[key])
	}

	return sorted
}

// labelsFor are the labels of what is made for a Service: its own, but for those of the kubernetes.io family that say
// what it itself is.
func labelsFor(service *corev1.Service, more map[string]string) map[string]string {
	all := make(map[string]string)
	for name, value := range service.Labels {
		if !strings.HasPrefix(name, "endpointslice.kubernetes.io/") && name != discoveryv1.LabelServiceName && name != corev1.IsHeadlessService {
			all[name] = value
		}
	}
	if service.Spec.ClusterIP == corev1.ClusterIPNone {
		all[corev1.IsHeadlessService] = ""
	}
	maps.Copy(all, more)

	return all
}

func targetRef(pod *corev1.Pod) *corev1.ObjectReference {
	return &corev1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID}
}

// pointerTo is nil for what is not set.
func pointerTo(text string) *string {
	if text == "" {
		return nil
	}

	return &text
}
