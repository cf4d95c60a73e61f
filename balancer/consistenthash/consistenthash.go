package consistenthash

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"
	"google.golang.org/grpc/balancer/endpointsharding"
	"google.golang.org/grpc/balancer/pickfirst"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/experimental/balancer/weight"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/ringhash"
	"google.golang.org/grpc/serviceconfig"
)

// Name is the name of the consistent_hash LB policy in service configs.
const Name = "consistent_hash"

func init() {
	balancer.Register(builder{})
}

type builder struct{}

func (builder) Name() string { return Name }

func (builder) ParseConfig(text json.RawMessage) (serviceconfig.LoadBalancingConfig, error) {
	return parseConfig(text)
}

func (builder) Build(cc balancer.ClientConn, opts balancer.BuildOptions) balancer.Balancer {
	p := &policy{ClientConn: cc, known: resolver.NewEndpointMap[*endpoint]()}
	// Children connect at once and again, as round_robin's do: a key that has to
	// wait for its owner should wait as little as possible.
	p.Balancer = endpointsharding.NewBalancer(p, opts, balancer.Get(pickfirst.Name).Build, endpointsharding.Options{})
	return p
}

// policy stands between the channel and one pick_first child per endpoint. To
// the children it is the ClientConn, which is how it learns of their states.
type policy struct {
	balancer.ClientConn
	balancer.Balancer

	tally tally
	known *resolver.EndpointMap[*endpoint] // used only by UpdateClientConnState, which gRPC serializes

	mu            sync.Mutex
	config        *config
	ring          *ring // nil: no endpoints
	resolverError error // the last one, while there are no endpoints
}

// endpointOfAttributes finds a child's *endpoint from the child's state, which
// is shorter than through its addresses.
type endpointOfAttributes struct{}

// UpdateClientConnState implements balancer.Balancer.
func (p *policy) UpdateClientConnState(ccs balancer.ClientConnState) error {
	c, ok := ccs.BalancerConfig.(*config)
	if !ok {
		return fmt.Errorf("%s: config is of type %T: want what ParseConfig returns", Name, ccs.BalancerConfig)
	}
	places := p.takeEndpoints(&ccs.ResolverState)
	r := p.ring // written only here, so it can be read without the lock
	if len(places) == 0 {
		r = nil
	} else if !r.madeFrom(places, c.virtualNodes) {
		start := time.Now()
		r = newRing(places, c.virtualNodes)
		countRing(time.Since(start))
	}

	p.mu.Lock()
	p.config = c
	p.resolverError = nil
	if p.ring != nil {
		for _, place := range p.ring.places {
			place.position = notOnRing
		}
	}
	p.ring = r
	if r != nil {
		for i, place := range r.places {
			place.position = i
		}
	}
	p.mu.Unlock()

	// It ends with a call of UpdateState, which makes the new picker.
	return p.Balancer.UpdateClientConnState(balancer.ClientConnState{
		// Lets pick_first take part in client-side health checks and outlier detection.
		ResolverState: pickfirst.EnableHealthListener(ccs.ResolverState),
	})
}

// takeEndpoints reads the endpoints of a resolver's state and leaves in it those
// that the policy uses, each once and marked as the policy's own. Endpoints
// that are gone are remembered while they have requests in flight.
func (p *policy) takeEndpoints(state *resolver.State) []place {
	listed := resolver.NewEndpointMap[*endpoint]()
	places := make([]place, 0, len(state.Endpoints))
	marked := make([]resolver.Endpoint, 0, len(state.Endpoints))
	for _, from := range state.Endpoints {
		if _, again := listed.Get(from); again || len(from.Addresses) == 0 {
			continue
		}
		e, ok := p.known.Get(from)
		if !ok {
			e = newEndpoint(identityOf(from), &p.tally)
		}
		listed.Set(from, e)
		places = append(places, place{endpoint: e, hashKey: hashKeyOf(from), weight: weightOf(from)})
		from.Attributes = from.Attributes.WithValue(endpointOfAttributes{}, e)
		marked = append(marked, from)
	}
	for at, e := range p.known.All() {
		if _, ok := listed.Get(at); ok {
			continue
		}
		e.leave() // before its load is looked at: no picker adds to it any more
		if e.inFlight() > 0 {
			listed.Set(at, e)
		}
	}
	p.known = listed
	state.Endpoints = marked
	state.Addresses = nil
	return places
}

// UpdateState is called by the children, when any of them changes its state.
func (p *policy) UpdateState(state balancer.State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ring == nil {
		p.ClientConn.UpdateState(balancer.State{
			ConnectivityState: connectivity.TransientFailure,
			Picker:            base.NewErrPicker(p.noEndpointsError()),
		})
		return
	}

	members := make([]member, len(p.ring.places))
	for i, place := range p.ring.places {
		// Until the child of a new endpoint has said otherwise.
		members[i] = member{endpoint: place.endpoint, child: stillConnecting, state: connectivity.Connecting}
	}
	for _, child := range endpointsharding.ChildStatesFromPicker(state.Picker) {
		e, ok := child.Endpoint.Attributes.Value(endpointOfAttributes{}).(*endpoint)
		if !ok || e.position == notOnRing {
			continue // removed, and its child is about to hear of it
		}
		members[e.position].child = child.State.Picker
		members[e.position].state = child.State.ConnectivityState
	}
	for _, m := range members {
		if m.state == connectivity.Ready {
			m.join()
		} else {
			m.leave()
		}
	}
	p.ClientConn.UpdateState(balancer.State{
		ConnectivityState: state.ConnectivityState,
		Picker:            newPicker(p.ring, members, p.config, &p.tally),
	})
}

var stillConnecting = base.NewErrPicker(balancer.ErrNoSubConnAvailable)

// ResolverError implements balancer.Balancer. While there are endpoints the
// error changes nothing, but for those that fail anyway: RPCs that fail there
// say it too.
func (p *policy) ResolverError(err error) {
	p.mu.Lock()
	if p.ring == nil {
		p.resolverError = err
	}
	p.mu.Unlock()
	p.Balancer.ResolverError(err) // ends with a call of UpdateState
}

func (p *policy) noEndpointsError() error {
	if p.resolverError != nil {
		return fmt.Errorf("%s: no endpoints: name resolver error: %w", Name, p.resolverError)
	}
	return errors.New(Name + ": no endpoints: the name resolver found none")
}

// identityOf is the set of addresses, as endpointsharding tells endpoints apart.
func identityOf(e resolver.Endpoint) string {
	return strings.Join(sortedAddresses(e), " ")
}

// hashKeyOf is the endpoint's hash key (gRFC A76) or else its first address in
// the order of text. ring_hash takes the first as listed, but two clients may
// list the families of a dual-stack endpoint differently. IPv4 comes first, so
// that a second family moves no keys.
func hashKeyOf(e resolver.Endpoint) string {
	if key := ringhash.HashKey(e); key != "" {
		return key
	}
	return sortedAddresses(e)[0]
}

func sortedAddresses(e resolver.Endpoint) []string {
	addresses := make([]string, 0, len(e.Addresses))
	for _, a := range e.Addresses {
		addresses = append(addresses, a.Addr)
	}
	slices.Sort(addresses)
	return addresses
}

// weightOf is 1 where none was set, as for gRPC's own policies.
func weightOf(e resolver.Endpoint) uint32 {
	return max(1, weight.FromEndpoint(e).Weight)
}
