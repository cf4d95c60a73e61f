package srv

import (
	"cmp"
	"net/netip"
	"slices"

	"google.golang.org/grpc/experimental/balancer/weight"
	"google.golang.org/grpc/resolver"
)

// endpointsOf makes an endpoint of each target of the records that has an address: one,
// with its addresses of both families. The same records make the same endpoints in the
// same order, in whatever order they come; servers shuffle them.
func endpointsOf(records []record, hosts map[string][]netip.Addr) []resolver.Endpoint {
	records = slices.Clone(records)
	slices.SortFunc(records, func(a, b record) int {
		// Of two for the same target and port the heavier one is taken.
		return cmp.Or(cmp.Compare(a.host, b.host), cmp.Compare(a.port, b.port), cmp.Compare(b.weight, a.weight))
	})
	records = slices.CompactFunc(records, func(a, b record) bool { return a.host == b.host && a.port == b.port })

	endpoints := make([]resolver.Endpoint, 0, len(records))
	weights := make([]uint32, 0, len(records))
	taken := make(map[netip.AddrPort]bool, len(records))
	for _, record := range records {
		var endpoint resolver.Endpoint
		for _, ip := range inOrder(hosts[record.host]) {
			address := netip.AddrPortFrom(ip, record.port)
			// Two names for one server do not make it two.
			if !taken[address] {
				taken[address] = true
				endpoint.Addresses = append(endpoint.Addresses, resolver.Address{Addr: address.String()})
			}
		}
		if len(endpoint.Addresses) > 0 {
			endpoints = append(endpoints, endpoint)
			weights = append(weights, weightOf(record))
		}
	}
	// Equal weights say nothing. CoreDNS makes 100/N of them, and they would change with
	// every pod that comes or goes.
	if len(weights) > 0 && slices.Max(weights) != slices.Min(weights) {
		for i, w := range weights {
			endpoints[i] = weight.Set(endpoints[i], weight.EndpointInfo{Weight: w})
		}
	}

	return endpoints
}

// inOrder puts IPv6 first (RFC 8305, section 4). pick_first tries the other family 250 ms
// later, or when the first has failed (gRFC A61).
func inOrder(ips []netip.Addr) []netip.Addr {
	ips = slices.Clone(ips)
	slices.SortFunc(ips, func(a, b netip.Addr) int {
		return cmp.Or(cmp.Compare(b.BitLen(), a.BitLen()), a.Compare(b))
	})

	return slices.Compact(ips)
}

// weightOf makes 1 of a weight of 0, which for LB policies would mean that there is
// none. By RFC 2782's own way of drawing, a record of weight 0 beside others that add
// up to S is drawn once in S+1 times, and so is one of weight 1.
func weightOf(r record) uint32 { return max(1, uint32(r.weight)) }

// sameEndpoints says whether gRPC would see a difference.
func sameEndpoints(a, b []resolver.Endpoint) bool {
	return slices.EqualFunc(a, b, func(a, b resolver.Endpoint) bool {
		return a.Attributes.Equal(b.Attributes) && slices.EqualFunc(a.Addresses, b.Addresses, resolver.Address.Equal)
	})
}
