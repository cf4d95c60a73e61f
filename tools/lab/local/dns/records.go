package dns

import (
	"cmp"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"

	mdns "github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
)

const (
	domain = "cluster.local."
	// specification is the version of the Kubernetes DNS specification, which says
	// that the name dns-version tells it.
	specification = "1.1.0"
	noPort        = -1
)

// records are the DNS records that follow from the objects in the store.
type records struct {
	store     *apiserver.Store
	namespace string
	ttl       uint32 // seconds
}

// target is one thing that a name stands for.
type target struct {
	name string // of the Service or the endpoint, fully qualified
	ip   netip.Addr
	port int32
}

// question is a name and type asked for, with the name split into what follows from
// it.
type question struct {
	mdns.Question

	labels []string // of the whole name, in lower case, without the domain
	whole  string   // the whole name; not the one that was asked for if that was relative
}

// find returns what the labels stand for, and whether the name exists at all: NODATA
// is for one that does, NXDOMAIN for one that does not.
func (r records) find(labels []string) (targets []target, exists bool) {
	last := len(labels) - 1
	switch {
	case last < 0:
		return nil, true
	case last == 0 && labels[0] == "dns-version":
		return nil, true
	case labels[last] != "svc":
		return nil, false
	case last == 0:
		return nil, true
	}
	namespace := labels[last-1]
	if last == 1 {
		return nil, r.hasNamespace(namespace)
	}
	service, found := apiserver.Get[*corev1.Service](r.store, namespace, labels[last-2])
	if !found {
		return nil, false
	}
	anyPort := func(string, corev1.Protocol) bool { return true }
	switch rest := labels[:last-2]; {
	case len(rest) == 0 && isHeadless(service):
		targets = r.endpoints(service, "", anyPort)
	case len(rest) == 0:
		targets = clusterIPs(service, anyPort)
	case len(rest) == 1:
		targets = r.endpoints(service, rest[0], anyPort)
	case len(rest) == 2 && strings.HasPrefix(rest[0], "_") && strings.HasPrefix(rest[1], "_"):
		named := func(name string, protocol corev1.Protocol) bool {
			return "_"+name == rest[0] && "_"+strings.ToLower(string(protocol)) == rest[1]
		}
		if isHeadless(service) {
			targets = r.endpoints(service, "", named)
		} else {
			targets = clusterIPs(service, named)
		}
	}

	return targets, len(targets) > 0
}

func isHeadless(service *corev1.Service) bool { return service.Spec.ClusterIP == corev1.ClusterIPNone }

func (r records) hasNamespace(name string) bool {
	_, found := apiserver.Get[*corev1.Namespace](r.store, "", name)

	return found || name == r.namespace
}

// clusterIPs are the virtual IPs of a Service, once for each port that is wanted.
func clusterIPs(service *corev1.Service, wanted func(string, corev1.Protocol) bool) []target {
	addresses := service.Spec.ClusterIPs
	if len(addresses) == 0 {
		addresses = []string{service.Spec.ClusterIP}
	}
	var targets []target
	for _, port := range service.Spec.Ports {
		if !wanted(port.Name, cmp.Or(port.Protocol, corev1.ProtocolTCP)) {
			continue
		}
		for _, address := range addresses {
			// None of them is an address before the Service is given one.
			if ip, err := netip.ParseAddr(address); err == nil {
				targets = append(targets, target{name: fqdn(service), ip: ip, port: port.Port})
			}
		}
	}

	return targets
}

// endpoints are the endpoints behind a Service that are ready, once for each port that
// is wanted: all of them, or the one of the given name.
//
// All EndpointSlices of the Service count, and an endpoint may stand in two of them
// for a moment. An endpoint whose readiness nobody knows is ready, says the API.
func (r records) endpoints(service *corev1.Service, only string, wanted func(string, corev1.Protocol) bool) []target {
	var targets []target
	for _, slice := range apiserver.List[*discoveryv1.EndpointSlice](r.store, service.Namespace) {
		if slice.Labels[discoveryv1.LabelServiceName] != service.Name || slice.AddressType == discoveryv1.AddressTypeFQDN {
			continue
		}
		ports := portsOf(slice, wanted)
		for _, endpoint := range slice.Endpoints {
			ready := endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready
			if !ready && !service.Spec.PublishNotReadyAddresses {
				continue
			}
			for _, address := range endpoint.Addresses {
				ip, err := netip.ParseAddr(address)
				name := endpointName(endpoint, ip)
				if err != nil || only != "" && only != name {
					continue
				}
				for _, port := range ports {
					targets = append(targets, target{name: name + "." + fqdn(service), ip: ip, port: port})
				}
			}
		}
	}

	return targets
}

// portsOf are the numbers of a slice's ports that are wanted. Endpoints without any port
// have addresses all the same.
func portsOf(slice *discoveryv1.EndpointSlice, wanted func(string, corev1.Protocol) bool) []int32 {
	if len(slice.Ports) == 0 && wanted("", "") {
		return []int32{noPort}
	}
	var ports []int32
	for _, port := range slice.Ports {
		var name string
		number, protocol := int32(noPort), corev1.ProtocolTCP
		if port.Name != nil {
			name = *port.Name
		}
		if port.Port != nil {
			number = *port.Port
		}
		if port.Protocol != nil {
			protocol = *port.Protocol
		}
		if wanted(name, protocol) {
			ports = append(ports, number)
		}
	}

	return ports
}

// endpointName is the label of an endpoint's own name: its hostname if the pod has one,
// or else its address with dashes.
func endpointName(endpoint discoveryv1.Endpoint, ip netip.Addr) string {
	if endpoint.Hostname != nil && *endpoint.Hostname != "" {
		return *endpoint.Hostname
	}
	name := strings.NewReplacer(".", "-", ":", "-").Replace(ip.String())
	if strings.HasSuffix(name, "-") {
		// No label may end in a dash.
		name += "0"
	}

	return name
}

func fqdn(service *corev1.Service) string {
	return service.Name + "." + service.Namespace + ".svc." + domain
}

// addresses are the A or AAAA records of targets, in random order: clients that take
// the first are spread over all.
func (r records) addresses(kind uint16, targets []target, owner func(target) string) []mdns.RR {
	var out []mdns.RR
	type record struct {
		owner string
		ip    netip.Addr
	}
	seen := make(map[record]bool)
	for _, t := range targets {
		is := record{owner(t), t.ip}
		if seen[is] || t.ip.Is4() != (kind == mdns.TypeA) {
			continue
		}
		seen[is] = true
		if kind == mdns.TypeA {
			out = append(out, &mdns.A{Hdr: r.header(is.owner, kind), A: net.IP(t.ip.AsSlice())})
		} else {
			out = append(out, &mdns.AAAA{Hdr: r.header(is.owner, kind), AAAA: net.IP(t.ip.AsSlice())})
		}
	}
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })

	return out
}

// services are the SRV records of targets (RFC 2782): of equal priority, and of weights
// that add up to 100 or a little less, as CoreDNS has them.
func (r records) services(owner string, targets []target) []mdns.RR {
	targets = slices.DeleteFunc(slices.Clone(targets), func(t target) bool { return t.port == noPort })
	var out []mdns.RR
	type record struct {
		name string
		port int32
	}
	seen := make(map[record]bool)
	for _, t := range targets {
		is := record{t.name, t.port}
		if seen[is] {
			continue
		}
		seen[is] = true
		out = append(out, &mdns.SRV{
			Hdr: r.header(owner, mdns.TypeSRV), Weight: uint16(max(1, 100/len(targets))),
			Port: uint16(t.port), Target: t.name,
		})
	}

	return out
}

// authority is the SOA record. With an answer that has no records it says how long
// that is good for (RFC 2308).
func (r records) authority() mdns.RR {
	return &mdns.SOA{
		Hdr: r.header(domain, mdns.TypeSOA), Ns: "ns.dns." + domain, Mbox: "hostmaster." + domain,
		Serial: 1, Refresh: 7200, Retry: 1800, Expire: 86400, Minttl: r.ttl,
	}
}

func (r records) header(owner string, kind uint16) mdns.RR_Header {
	return mdns.RR_Header{Name: owner, Rrtype: kind, Class: mdns.ClassINET, Ttl: r.ttl}
}
