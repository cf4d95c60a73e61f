package srv

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/ringhash"
)

// srvResolver looks one target up for one channel, again and again. All but ResolveNow,
// Close and what is guarded by mu belongs to the goroutine of run.
type srvResolver struct {
	target   Target
	config   Config
	exchange exchange
	random   func() float64
	cc       resolver.ClientConn
	logger   *slog.Logger

	cancel  context.CancelFunc
	running sync.WaitGroup
	now     chan struct{} // holds one when a look-up is wanted early

	last     result // the last one with endpoints; without any after an empty answer
	misses   int    // look-ups in a row that failed or found nothing
	failing  bool   // the last look-up failed, at least in part
	refused  bool   // the LB policy did not take the last endpoints
	rotation int    // look-ups so far

	mu     sync.Mutex
	status status
}

// ResolveNow makes the next look-up come as soon as MinTTL has passed since the last one.
// gRPC calls it when a connection breaks or cannot be made.
func (r *srvResolver) ResolveNow(resolver.ResolveNowOptions) {
	select {
	case r.now <- struct{}{}:
	default:
		// One is wanted already.
	}
}

// Close ends the resolver. When it returns, nothing of it runs, and gRPC is told nothing
// more.
func (r *srvResolver) Close() {
	r.cancel()
	r.running.Wait()
	registry.remove(r)
}

func (r *srvResolver) run(ctx context.Context) {
	for {
		found, err := r.lookUp(ctx)
		if ctx.Err() != nil {
			return
		}
		if !r.sleep(ctx, r.take(found, err)) {
			return
		}
	}
}

func (r *srvResolver) lookUp(ctx context.Context) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, r.config.Timeout)
	defer cancel()
	settings, err := r.config.settings()
	if err != nil {
		return result{}, err
	}
	servers := &servers{settings: settings, exchange: r.exchange}
	if settings.rotate {
		servers.first = r.rotation
	}
	r.rotation++
	look := &lookup{servers: servers, query: r.target.query(), last: r.last}

	return look.run(ctx)
}

// take tells gRPC what a look-up has found, and returns how long to wait for the next one.
func (r *srvResolver) take(found result, err error) time.Duration {
	switch {
	case err != nil:
		return r.takeFailure(err)
	case len(found.endpoints) == 0:
		return r.takeNothing(found)
	}

	return r.takeEndpoints(found)
}

// takeFailure keeps what there is. gRPC is told only when that is nothing: it would not
// take connections away, but put our error in the place of what is wrong with them.
func (r *srvResolver) takeFailure(err error) time.Duration {
	r.failing = true
	r.misses++
	r.logger.Warn("srv: DNS look-up failed",
		slog.String("error", oneLine(err)), slog.Int("endpointsKept", len(r.last.endpoints)), slog.Int("inARow", r.misses))
	registry.count(r.target, lookupFailed)
	if len(r.last.endpoints) == 0 {
		r.cc.ReportError(r.noEndpoints("the look-up failed: " + oneLine(err)))
	}

	return r.backoff()
}

// takeNothing takes all endpoints away, for DNS says that there are none.
func (r *srvResolver) takeNothing(found result) time.Duration {
	if r.failing || len(r.last.endpoints) > 0 || r.misses == 0 {
		r.logger.Warn("srv: DNS has no endpoints", slog.String("reason", found.empty), slog.Int("endpointsRemoved", len(r.last.endpoints)))
	}
	r.failing, r.refused = false, false
	r.misses++
	registry.count(r.target, lookupEmpty)
	if len(r.last.endpoints) > 0 {
		registry.countUpdate(r.target)
		// This error is gRPC's way of asking for another look-up, which will come anyway.
		_ = r.cc.UpdateState(nothing(r.target))
	}
	r.cc.ReportError(r.noEndpoints(found.empty))
	r.last = result{}
	r.publish(0)

	// A Service that is scaled up from zero, or that starts together with its clients, has
	// endpoints before the negative TTL is over, and until then every RPC fails.
	return min(r.backoff(), r.bounded(found.ttl))
}

// nothing is the state without any endpoint.
//
// It has an endpoint without any address. Policies that stand on endpointsharding
// (round_robin and most others) drop the error that follows if they have no endpoint
// at all, and fail RPCs with "no children to pick from" instead. One without addresses
// is theirs to pass the error on to. The hash key is for ring_hash, which would look
// for it in the first address.
func nothing(target Target) resolver.State {
	return resolver.State{Endpoints: []resolver.Endpoint{ringhash.SetHashKey(resolver.Endpoint{}, target.query())}}
}

func (r *srvResolver) takeEndpoints(found result) time.Duration {
	kind := lookupOK
	if found.partial != nil {
		kind = lookupPartial
		r.logger.Warn("srv: DNS look-up failed in part",
			slog.String("error", oneLine(found.partial)), slog.Int("endpoints", len(found.endpoints)))
	} else if r.failing || r.misses > 0 {
		r.logger.Info("srv: DNS has endpoints again", slog.Int("endpoints", len(found.endpoints)))
	}
	registry.count(r.target, kind)
	r.failing = found.partial != nil

	if r.refused || !sameEndpoints(found.endpoints, r.last.endpoints) {
		registry.countUpdate(r.target)
		err := r.cc.UpdateState(state(found.endpoints))
		if r.refused = err != nil; r.refused {
			r.logger.Warn("srv: the LB policy refuses the endpoints",
				slog.Any("error", err), slog.Int("endpoints", len(found.endpoints)))
		}
	}
	r.last = found
	r.publish(len(found.endpoints))
	if r.failing || r.refused {
		r.misses++

		return min(r.backoff(), r.bounded(found.ttl))
	}
	r.misses = 0

	return r.bounded(found.ttl)
}

// state is that of endpoints. Policies that do not know of these, only of addresses, get
// one of each.
func state(endpoints []resolver.Endpoint) resolver.State {
	addresses := make([]resolver.Address, len(endpoints))
	for i, endpoint := range endpoints {
		addresses[i] = endpoint.Addresses[0]
	}

	return resolver.State{Endpoints: endpoints, Addresses: addresses}
}

// noEndpoints is what RPCs fail with.
func (r *srvResolver) noEndpoints(why string) error {
	return fmt.Errorf("srv: no endpoints for %s: %s", r.target, why)
}

// bounded is how long an answer is good for: its TTL, but no less than MinTTL and no more
// than MaxTTL, and then up to a tenth longer, so that clients that started together do
// not ask together for ever. It is not shorter, or a cache on the way would give the old
// answer once more.
func (r *srvResolver) bounded(ttl time.Duration) time.Duration {
	ttl = min(max(ttl, r.config.MinTTL), r.config.MaxTTL)

	return ttl + time.Duration(r.random()*float64(ttl)/10)
}

// The waits between look-ups while there is no answer: the first, its growth, the longest,
// and how much they vary either way. All but the longest are those of gRPC's connections
// (its doc/connection-backoff.md).
const (
	backoffBase   = time.Second
	backoffFactor = 1.6
	backoffMax    = 30 * time.Second
	backoffJitter = 0.2
)

func (r *srvResolver) backoff() time.Duration {
	wait := float64(backoffBase)
	for range r.misses - 1 {
		if wait *= backoffFactor; wait > float64(backoffMax) {
			wait = float64(backoffMax)

			break
		}
	}

	return time.Duration(wait * (1 - backoffJitter + 2*backoffJitter*r.random()))
}

// sleep waits until the next look-up is due. It is false when there will be none.
func (r *srvResolver) sleep(ctx context.Context, wait time.Duration) bool {
	ended := time.Now()
	r.scheduled(ended.Add(wait))
	timer := time.NewTimer(wait)
	defer timer.Stop()
	now := r.now
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-now:
			now = nil
			if early := ended.Add(r.config.MinTTL); early.Before(ended.Add(wait)) {
				r.scheduled(early)
				timer.Reset(time.Until(early))
			}
		}
	}
}
