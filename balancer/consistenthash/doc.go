// Package consistenthash is the gRPC LB policy "consistent_hash": consistent
// hashing with bounded loads. The same key goes to the same endpoint, and no
// endpoint takes a request that would put it above loadFactor times the mean;
// such a request passes to the next endpoint on the ring.
//
// Importing the package registers the policy. A service config chooses it:
//
//	{"loadBalancingConfig": [{"consistent_hash": {"requestHashHeader": "x-user-id"}}]}
//
// The key of an RPC comes from [WithKey], or else from the request header that
// the config names.
//
// # What is promised
//
// Every endpoint has a number of points on a ring of 64-bit hashes, in
// proportion to its weight. Where they stand depends on the endpoints and their
// weights alone, not on their order nor on the process, so all clients agree.
// A key belongs to the endpoint of the first point at or after its hash (its
// owner). Endpoints that come or go move only the keys that they gain or lose;
// with unequal weights, somewhat more.
//
// An owner in TRANSIENT_FAILURE is stepped over and keeps its points. An owner
// that is idle or connecting keeps its keys: their RPCs wait for it.
//
// With c the loadFactor, m the RPCs in flight on the READY endpoints (this one
// included) and w/W an endpoint's share of the weight of those endpoints, an
// endpoint is given an RPC only if it then holds at most ceil(c*m*w/W), or at
// most minCapacity where that was set. The former is the bound of Mirrokni,
// Thorup and Zadimoghaddam, "Consistent Hashing with Bounded Loads" (2016). The
// paper moves balls when others leave; an RPC cannot be moved, so after m has
// fallen an endpoint may hold more than its present bound. It is then given
// nothing until it is within the bound again. While there are never more than M
// RPCs in flight and the same endpoints are READY, none ever holds more than
// ceil(c*M*w/W).
//
// The count is of this channel's RPCs: clients do not know of each other's.
package consistenthash
