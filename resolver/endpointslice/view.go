package endpointslice

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/grpc/resolver"
)

// view makes the endpoints of one channel out of the slices of a Service: those with the target's port, in its zone.
//
// It keeps what it made of each slice for as long as the slice is the same, since of 10,000 endpoints in 100 slices an
// event changes one slice. What is put together is always all of them.
type view struct {
	target Target
	zone   string
	made   map[*slice][]candidate
}

// candidate is an endpoint at its address and port, ready to be published.
type candidate struct {
	*endpoint
	at     netip.AddrPort
	result resolver.Endpoint
}

// build puts all slices together. It returns no endpoints if none can be used, and an error if the target's port does not
// lead to one.
func (v *view) build(all []*slice) ([]resolver.Endpoint, error) {
	name, err := v.choosePort(all)
	if err != nil {
		return nil, err
	}
	made := make(map[*slice][]candidate, len(all))
	total := 0
	for _, s := range all {
		candidates, known := v.made[s]
		if !known {
			candidates = v.candidates(s, name)
		}
		made[s] = candidates
		total += len(candidates)
	}
	v.made = made

	// In order of the addresses, so that equal sets make equal states, in whichever slices they stand.
	merged := make([]candidate, 0, total)
	for _, candidates := range made {
		merged = append(merged, candidates...)
	}
	slices.SortFunc(merged, func(a, b candidate) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(b.condition, a.condition), strings.Compare(a.id, b.id),
			strings.Compare(a.info.Pod, b.info.Pod), strings.Compare(a.info.Node, b.info.Node), strings.Compare(a.info.Zone, b.info.Zone))
	})
	merged = usable(merged)
	return v.group(v.inZone(merged)), nil
}

// usable leaves the endpoints that are ready, or else those which serve while they terminate, as kube-proxy does
// (KEP-1669), each address once. An address that stands twice, in two slices or for two pods, counts by its better entry:
// an endpoint that moves from one slice to another is in both for a moment, and nothing tells which entry is newer.
func usable(sorted []candidate) []candidate {
	sorted = slices.CompactFunc(sorted, func(a, b candidate) bool { return a.at == b.at })
	for _, wanted := range []condition{ready, servingTerminating} {
		if slices.ContainsFunc(sorted, func(c candidate) bool { return c.condition == wanted }) {
			return slices.DeleteFunc(sorted, func(c candidate) bool { return c.condition != wanted })
		}
	}
	return nil
}

// inZone leaves the endpoints for the client's zone, if it is to be preferred and enough of them are ready: those with a
// hint for the zone if every endpoint has hints, as kube-proxy does, or else those that are in it.
func (v *view) inZone(all []candidate) []candidate {
	if !v.target.PreferZone || len(all) == 0 || all[0].condition != ready {
		return all
	}
	hinted := !slices.ContainsFunc(all, func(c candidate) bool { return len(c.forZones) == 0 })
	var near []candidate
	pods := map[string]bool{}
	for _, c := range all {
		if hinted && slices.Contains(c.forZones, v.zone) || !hinted && c.info.Zone == v.zone {
			near = append(near, c)
			pods[cmp.Or(c.id, c.at.String())] = true
		}
	}
	if len(pods) < v.target.ZoneMinimum {
		return all
	}
	return near
}

// group puts all addresses of a pod into one endpoint, IPv4 before IPv6 as they are sorted: a client that can use both
// tries the other one 250 ms later (gRFC A61).
func (v *view) group(sorted []candidate) []resolver.Endpoint {
	endpoints := make([]resolver.Endpoint, 0, len(sorted))
	place := make(map[string]int, len(sorted))
	for _, c := range sorted {
		at, known := place[c.id]
		if !known || c.id == "" {
			place[c.id] = len(endpoints)
			endpoints = append(endpoints, c.result)
			continue
		}
		// The addresses are shared with earlier states.
		endpoints[at].Addresses = append(slices.Clip(endpoints[at].Addresses), c.result.Addresses...)
	}
	return endpoints
}

// candidates are the endpoints of a slice at the port of a name or, if the target has a number, of that number.
func (v *view) candidates(s *slice, name string) []candidate {
	at := slices.IndexFunc(s.ports, func(p port) bool { return v.isNumber(p) || v.number() == 0 && p.name == name })
	if at < 0 {
		return nil
	}
	candidates := make([]candidate, 0, len(s.endpoints))
	for i := range s.endpoints {
		e := &s.endpoints[i]
		c := candidate{endpoint: e, at: netip.AddrPortFrom(e.addr, s.ports[at].number)}
		c.result = resolver.Endpoint{Addresses: []resolver.Address{{Addr: c.at.String()}}, Attributes: withInfo(e.info)}
		candidates = append(candidates, c)
	}
	return candidates
}

func (v *view) number() uint16 {
	number, _ := strconv.ParseUint(v.target.Port, 10, 16) // a name is 0, which is no port
	return uint16(number)
}

func (v *view) isNumber(p port) bool { return v.number() != 0 && p.number == v.number() }

// choosePort finds the name of the port. A slice that lacks it is left out, for it is of pods that do not have that port
// (a named target port in the middle of a rollout); that all of them lack it is an error. Slices without endpoints do not
// count: that of a Service which never had any lists no ports.
func (v *view) choosePort(all []*slice) (string, error) {
	var ports []port
	filled := 0
	for _, s := range all {
		if len(s.endpoints) == 0 {
			continue
		}
		filled++
		ports = append(ports, s.ports...)
	}
	names := map[string]bool{}
	for _, p := range ports {
		if v.isNumber(p) || v.number() == 0 && v.target.Port != "" && p.name == v.target.Port {
			return p.name, nil
		}
		names[p.name] = true
	}
	switch {
	case filled == 0:
		return "", nil
	case v.target.Port != "":
		return "", fmt.Errorf("has no port %q: %s", v.target.Port, list(ports))
	case len(names) != 1:
		return "", fmt.Errorf("has not exactly one port, and the target names none: %s", list(ports))
	}
	return ports[0].name, nil
}

// list lists ports for people.
func list(ports []port) string {
	if len(ports) == 0 {
		return "its EndpointSlices list no TCP port with a number"
	}
	slices.SortFunc(ports, func(a, b port) int {
		return cmp.Or(strings.Compare(a.name, b.name), cmp.Compare(a.number, b.number))
	})
	var b strings.Builder
	b.WriteString("there are ")
	for i, p := range slices.Compact(ports) {
		if i > 0 {
			b.WriteString(", ")
		}
		if p.name == "" {
			fmt.Fprintf(&b, "%d (without a name)", p.number)
		} else {
			fmt.Fprintf(&b, "%s (%d)", p.name, p.number)
		}
	}
	return b.String()
}
