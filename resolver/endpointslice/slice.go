package endpointslice

import (
	"cmp"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"
)

// condition is what an endpoint can do, the better the higher.
type condition uint8

const (
	notReady           condition = iota // and not going away either
	terminating                         // going away, and not serving any more
	servingTerminating                  // going away, and still serving: used when nothing is ready
	ready
	conditions = iota // how many there are
)

func (c condition) String() string {
	return [conditions]string{"not_ready", "terminating", "serving_terminating", "ready"}[c]
}

// conditionOf reads the conditions as the API says (EndpointConditions in discovery/v1): a nil ready or serving is true,
// a nil terminating is false.
func conditionOf(c discoveryv1.EndpointConditions) condition {
	switch {
	case ptr.Deref(c.Ready, true):
		return ready
	case !ptr.Deref(c.Terminating, false):
		return notReady
	case ptr.Deref(c.Serving, true):
		return servingTerminating
	}
	return terminating
}

// slice is an EndpointSlice, read once, with only what matters here. It is never changed.
type slice struct {
	name      string
	ports     []port
	endpoints []endpoint
}

// port is a TCP port of a slice.
type port struct {
	name   string // "" is a name, too
	number uint16
}

// endpoint is an endpoint of a slice.
type endpoint struct {
	addr netip.Addr
	// id is the same for all entries of one pod, which has one for each of its address families, and sometimes stands
	// in two slices for a moment. It is "" for what is no pod.
	id        string
	info      Info
	forZones  []string // for which zones it is hinted, nil without hints
	condition condition
}

// readSlice reads a slice. What makes no sense in it is left out, whatever it is: other slices may be in order. Ports
// of other protocols than TCP and those without a number are nothing that gRPC could use. Addresses that are no IP
// addresses do not come from Kubernetes' own controllers; the API gives no meaning to addressType FQDN.
func readSlice(object *discoveryv1.EndpointSlice) *slice {
	s := &slice{name: object.Name}
	for _, p := range object.Ports {
		number := ptr.Deref(p.Port, 0)
		if ptr.Deref(p.Protocol, corev1.ProtocolTCP) == corev1.ProtocolTCP && number > 0 && number <= 65535 {
			s.ports = append(s.ports, port{name: ptr.Deref(p.Name, ""), number: uint16(number)})
		}
	}
	if object.AddressType == discoveryv1.AddressTypeFQDN {
		return s
	}
	s.endpoints = make([]endpoint, 0, len(object.Endpoints))
	words := map[string]string{} // one copy of each name of a node or zone, of which there are few
	for i := range object.Endpoints {
		if e, ok := readEndpoint(&object.Endpoints[i], words); ok {
			s.endpoints = append(s.endpoints, e)
		}
	}
	return s
}

func readEndpoint(object *discoveryv1.Endpoint, words map[string]string) (endpoint, bool) {
	if len(object.Addresses) == 0 {
		return endpoint{}, false
	}
	// The API gives a meaning to the first one only.
	addr, err := netip.ParseAddr(object.Addresses[0])
	if err != nil {
		return endpoint{}, false
	}
	e := endpoint{
		addr:      addr.Unmap(),
		condition: conditionOf(object.Conditions),
		info:      Info{Node: intern(words, ptr.Deref(object.NodeName, "")), Zone: intern(words, ptr.Deref(object.Zone, ""))},
	}
	if ref := object.TargetRef; ref != nil && (ref.Kind == "Pod" || ref.Kind == "") {
		e.info.Pod = ref.Name
		e.id = cmp.Or(string(ref.UID), ref.Name)
	}
	if object.Hints != nil {
		for _, zone := range object.Hints.ForZones {
			e.forZones = append(e.forZones, intern(words, zone.Name))
		}
	}
	return e, true
}

func intern(words map[string]string, word string) string {
	if known, ok := words[word]; ok {
		return known
	}
	words[word] = word
	return word
}
