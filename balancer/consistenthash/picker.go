package consistenthash

import (
	"fmt"
	"math/rand/v2"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
)

// member is an endpoint of the ring as it stood when the picker was made.
type member struct {
	*endpoint
	child balancer.Picker
	state connectivity.State
	bound bound
}

// picker is a snapshot of the policy. Only the counts of requests in flight
// change under it.
type picker struct {
	ring     *ring
	members  []member // as ring.places
	config   *config
	tally    *tally
	ready    int // members that are READY
	failing  int // members in TRANSIENT_FAILURE
	errNoKey error
}

// newPicker makes a picker of members whose bounds are not set yet.
func newPicker(r *ring, members []member, c *config, t *tally) *picker {
	p := &picker{ring: r, members: members, config: c, tally: t, errNoKey: missingKeyError(c)}
	var sum uint64
	for i, m := range members {
		switch m.state {
		case connectivity.Ready:
			p.ready++
			sum += uint64(r.places[i].weight)
		case connectivity.TransientFailure:
			p.failing++
		default:
		}
	}
	for i := range members {
		members[i].bound = bound{
			share: c.loadFactor * uint64(r.places[i].weight),
			whole: loadFactorUnit * sum,
			least: c.minCapacity,
		}
	}
	return p
}

// missingKeyError ends an RPC, also one that waits for ready: no endpoint can
// help it. It is a fault of the calling program, which is INTERNAL among the
// codes that a policy may use (gRFC A54).
func missingKeyError(c *config) error {
	header := ""
	if c.requestHashHeader != "" {
		header = fmt.Sprintf(" or the request header %q", c.requestHashHeader)
	}
	return status.Errorf(codes.Internal,
		`%s: the RPC has no key: set one with consistenthash.WithKey%s, or "missingKey": "random" in the service config`, Name, header)
}

// Pick implements balancer.Picker.
func (p *picker) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	hash, hasKey := requestHash(info.Ctx, p.config.requestHashHeader)
	how := byOwner
	if !hasKey {
		if !p.config.randomWithoutKey {
			outcomes[0].of[noKey].Add(1)
			return balancer.PickResult{}, p.errNoKey
		}
		hash, how = rand.Uint64(), atRandom
	}

	at := p.ring.find(hash)
	owner := p.at(at)
	if p.failing == len(p.members) {
		owner.counts.of[failed].Add(1)
		return owner.child.Pick(info)
	}
	for p.stepsOver(p.at(at), how) {
		at = p.ring.wrap(at + 1)
	}
	taker := p.at(at)
	if taker != owner && how == byOwner {
		how = steppedOver
	}
	switch {
	case taker.state != connectivity.Ready:
		taker.counts.of[queued].Add(1)
		return taker.child.Pick(info)
	case p.config.loadFactor == 0:
		taker.counts.of[how].Add(1)
		return taker.child.Pick(info)
	default:
		return p.place(info, at, how)
	}
}

func (p *picker) at(position int) *member {
	return &p.members[p.ring.points[position].owner]
}

// stepsOver says whether a member is left out at once. A keyed RPC waits for an
// endpoint that may yet connect; one without a key has no reason to (gRFC A76).
func (p *picker) stepsOver(m *member, how outcome) bool {
	if how == atRandom && p.ready > 0 {
		return m.state != connectivity.Ready
	}
	return m.state == connectivity.TransientFailure
}

// place gives the RPC to the first READY endpoint with room, from a position on.
// It passes by those that are connecting: an RPC whose endpoint is merely full
// should not wait for a connection.
func (p *picker) place(info balancer.PickInfo, at int, how outcome) (balancer.PickResult, error) {
	m := p.tally.total.Add(1)
	first := p.at(at)
	for {
		old := false
		for range p.ring.points {
			taker := p.at(at)
			if taker.state == connectivity.Ready {
				switch taker.admit(m, taker.bound) {
				case admitted:
					if taker != first && how != atRandom {
						how = passedOn
					}
					taker.counts.of[how].Add(1)
					return taker.send(info)
				case left:
					old = true
				case full:
				}
			}
			at = p.ring.wrap(at + 1)
		}
		if old {
			// The next picker is about to be published, and gRPC will ask it.
			p.tally.total.Add(-1)
			first.counts.of[queued].Add(1)
			return balancer.PickResult{}, balancer.ErrNoSubConnAvailable
		}
		// Others took the room while this pick went round. They are counted now.
		m = p.tally.total.Load()
	}
}

// send lets the child finish the pick of a request that has been counted.
func (m *member) send(info balancer.PickInfo) (balancer.PickResult, error) {
	result, err := m.child.Pick(info)
	if err != nil {
		m.done(balancer.DoneInfo{})
		return result, err
	}
	if childDone := result.Done; childDone != nil {
		result.Done = func(info balancer.DoneInfo) {
			childDone(info)
			m.done(info)
		}
		return result, nil
	}
	result.Done = m.done
	return result, nil
}
