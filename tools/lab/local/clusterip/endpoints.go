package clusterip

import (
	"cmp"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
)

// loopback is where virtual IPs can be: every address of it is this machine's, without
// anybody's permission.
var loopback = netip.MustParsePrefix("127.0.0.0/8")

// virtualIP is what is behind one port of a Service.
type virtualIP struct {
	service   string // NAMESPACE/NAME
	endpoints []netip.AddrPort
}

// virtualIPs says what should be listened on, and where connections should go. A port
// without endpoints is in it too.
func virtualIPs(store *apiserver.Store) (map[netip.AddrPort]virtualIP, error) {
	found := make(map[netip.AddrPort]virtualIP)
	for _, service := range apiserver.List[*corev1.Service](store, "") {
		name := service.Namespace + "/" + service.Name
		address := service.Spec.ClusterIP
		// "" is a Service that has not been given an address yet, or never will be.
		if address == "" || address == corev1.ClusterIPNone {
			continue
		}
		ip, err := netip.ParseAddr(address)
		if err != nil || !loopback.Contains(ip) {
			return nil, fmt.Errorf("service %s: clusterIP is %s, and must be an address in %s", name, address, loopback)
		}
		if affinity := cmp.Or(service.Spec.SessionAffinity, corev1.ServiceAffinityNone); affinity != corev1.ServiceAffinityNone {
			return nil, fmt.Errorf("service %s: sessionAffinity is %s, and only None is supported", name, affinity)
		}
		slices := slicesOf(store, service)
		for _, port := range service.Spec.Ports {
			if protocol := cmp.Or(port.Protocol, corev1.ProtocolTCP); protocol != corev1.ProtocolTCP {
				return nil, fmt.Errorf("service %s: the protocol of port %d is %s, and only TCP is supported", name, port.Port, protocol)
			}
			at := netip.AddrPortFrom(ip, uint16(port.Port))
			if other, taken := found[at]; taken {
				return nil, fmt.Errorf("service %s: %s belongs to service %s", name, at, other.service)
			}
			found[at] = virtualIP{service: name, endpoints: eligible(slices, port.Name)}
		}
	}

	return found, nil
}

func slicesOf(store *apiserver.Store, service *corev1.Service) []*discoveryv1.EndpointSlice {
	var found []*discoveryv1.EndpointSlice
	for _, slice := range apiserver.List[*discoveryv1.EndpointSlice](store, service.Namespace) {
		if slice.Labels[discoveryv1.LabelServiceName] == service.Name && slice.AddressType == discoveryv1.AddressTypeIPv4 {
			found = append(found, slice)
		}
	}

	return found
}

// eligible are the endpoints that a new connection to the port of this name may go to,
// each once: it may stand in two slices for a moment. They are those that are ready or,
// when none is, those that terminate and still serve, so that a rollout's last moment is
// not an outage (KEP-1669).
//
// Where nobody knows, an endpoint is ready and serves, and does not terminate: so says
// the API, and so does kube-proxy.
func eligible(slices []*discoveryv1.EndpointSlice, portName string) []netip.AddrPort {
	var ready, fallback []netip.AddrPort
	seen := make(map[netip.AddrPort]bool)
	for _, slice := range slices {
		port, found := portOf(slice, portName)
		if !found {
			continue
		}
		for _, endpoint := range slice.Endpoints {
			// Of several addresses all mean the same endpoint, and the first is to be used.
			if len(endpoint.Addresses) == 0 {
				continue
			}
			ip, err := netip.ParseAddr(endpoint.Addresses[0])
			at := netip.AddrPortFrom(ip, port)
			if err != nil || seen[at] {
				continue
			}
			is := endpoint.Conditions
			switch {
			case isTrue(is.Ready, true):
				ready = append(ready, at)
			case isTrue(is.Serving, true) && isTrue(is.Terminating, false):
				fallback = append(fallback, at)
			default:
				continue
			}
			seen[at] = true
		}
	}
	if len(ready) > 0 {
		return ready
	}

	return fallback
}

func isTrue(condition *bool, unknown bool) bool {
	if condition == nil {
		return unknown
	}

	return *condition
}

// portOf is the number that the port of this name has at a slice's endpoints. A
// Service's only port may have no name.
func portOf(slice *discoveryv1.EndpointSlice, name string) (uint16, bool) {
	for _, port := range slice.Ports {
		isTCP := port.Protocol == nil || *port.Protocol == corev1.ProtocolTCP
		isNamed := port.Name != nil && *port.Name == name || port.Name == nil && name == ""
		if isTCP && isNamed && port.Port != nil {
			return uint16(*port.Port), true
		}
	}

	return 0, false
}
