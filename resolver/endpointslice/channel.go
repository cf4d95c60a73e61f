package endpointslice

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/ringhash"
	"k8s.io/utils/clock"
)

// channel is the resolver of one gRPC channel: it has a view of a service, and publishes what is new in it.
type channel struct {
	cc       resolver.ClientConn
	service  *service
	view     view
	coalesce time.Duration
	clock    clock.WithTicker
	logger   *slog.Logger

	// Of the last state: what it held, whether that was anything, and when it was handed over.
	published []resolver.Endpoint
	filled    bool
	at        time.Time
	// Of what was last reported: why there is nothing to publish, and which failure of the API server there is.
	nothing  error
	failures int
	stale    bool

	changed chan struct{}
	cancel  context.CancelFunc
	done    sync.WaitGroup
	release func()
}

func (c *channel) start() {
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	c.changed = c.service.store.subscribe()
	c.done.Go(func() { c.run(ctx) })
}

// ResolveNow does nothing. gRPC calls it when a connection breaks, about which a watch has nothing to learn; and if the
// API server is away at that moment, asking it more often than the backoff allows would not bring it back.
func (c *channel) ResolveNow(resolver.ResolveNowOptions) {}

// Close ends the resolver, waits for its goroutine, and for the watch if it was the last one to use it. Nothing is
// called after it.
func (c *channel) Close() {
	c.cancel()
	c.done.Wait()
	c.service.store.unsubscribe(c.changed)
	c.release()
}

// run publishes: the first state, the first one after there was nothing, and one after a quiet time at once; others when
// their window is over.
//
// A window lasts for c.coalesce from the last publication. If nothing is left where there were endpoints, there is
// another one before that is believed, since a controller that replaces a slice may well delete the old one first.
func (c *channel) run(ctx context.Context) {
	var window clock.Timer // nil outside a window
	defer func() {
		if window != nil {
			window.Stop()
		}
	}()
	gone := false // whether the window is for that nothing is left
	for {
		var end <-chan time.Time
		if window != nil {
			end = window.C()
		}
		select {
		case <-ctx.Done():
			return
		case <-c.changed:
		case <-end:
			window = nil
		}
		now := c.service.store.current()
		if now.err == nil && c.stale {
			c.stale, c.nothing = false, nil // what was reported before the error is news again
		}
		if now.lists > 0 && window == nil {
			var wait time.Duration
			if wait, gone = c.offer(&now, gone); wait > 0 {
				window = c.clock.NewTimer(wait)
			}
		}
		// After the endpoints, which a policy that has them keeps.
		if now.err != nil && now.failures != c.failures {
			c.stale, c.failures = true, now.failures
			c.cc.ReportError(now.err)
		}
	}
}

// offer publishes what there is, or returns how long to wait before that, and whether because nothing is left.
func (c *channel) offer(now *snapshot, gone bool) (time.Duration, bool) {
	if c.filled && !gone {
		if wait := c.coalesce - c.clock.Since(c.at); wait > 0 {
			return wait, false
		}
	}
	endpoints, err := c.view.build(now.slices)
	if c.filled && !gone && len(endpoints) == 0 && err == nil && c.coalesce > 0 {
		return c.coalesce, true
	}
	c.publish(endpoints, err, len(now.slices))
	return 0, false
}

// publish tells the channel what the view holds now, unless it knows.
func (c *channel) publish(endpoints []resolver.Endpoint, err error, slices int) {
	if err != nil {
		// Like any other error, it leaves the last good endpoints.
		c.report("no_port", c.service.errorf(" %w", err))
		return
	}
	if len(endpoints) > 0 {
		c.nothing = nil
		if !equal(endpoints, c.published) {
			c.update(endpoints)
		}
		return
	}
	// Once a policy has had endpoints, only an empty state takes them away. Before that, it must not have one: a policy
	// that never had a state passes the error below on to RPCs, and most others say something general of their own.
	if c.filled {
		c.update(nil)
	}
	if slices == 0 {
		c.report("no_slice", c.service.errorf(" has no EndpointSlice: is it there, under this name?"))
	} else {
		c.report("no_endpoint", c.service.errorf(" has no ready endpoint, nor one that still serves"))
	}
}

// none is the endpoint of a state without endpoints: it has no address.
//
// Policies that stand on grpc-go's endpointsharding (round_robin and most others) drop the error that follows such a state
// if it has no endpoint at all, and fail RPCs with "no children to pick from". An endpoint without addresses is theirs to
// pass the error on to. The hash key is for ring_hash, which would look for it in the first address.
var none = ringhash.SetHashKey(resolver.Endpoint{}, "no endpoint")

// update hands a state over.
func (c *channel) update(endpoints []resolver.Endpoint) {
	state := resolver.State{Endpoints: endpoints, Addresses: make([]resolver.Address, 0, len(endpoints))}
	if len(endpoints) == 0 {
		state.Endpoints = []resolver.Endpoint{none}
	}
	for i := range endpoints {
		// For policies that do not know of endpoints, one connection to each.
		state.Addresses = append(state.Addresses, endpoints[i].Addresses[0])
	}
	c.at = c.clock.Now()
	c.published, c.filled = endpoints, len(endpoints) > 0
	counts.updates.WithLabelValues(c.service.namespace, c.service.name).Inc()
	c.logger.Debug("new endpoints", "endpoints", len(endpoints))
	// Some policies call a state without addresses a bad one.
	if err := c.cc.UpdateState(state); err != nil && len(endpoints) > 0 {
		c.published = nil // so that it is offered again with the next change, even if it is the same then
		counts.errors.WithLabelValues(c.service.namespace, c.service.name, "rejected").Inc()
		c.logger.Warn("the LB policy does not accept the endpoints", "endpoints", len(endpoints), "error", err)
	}
}

// report tells why there are no endpoints, once.
func (c *channel) report(reason string, err error) {
	if c.nothing != nil && c.nothing.Error() == err.Error() {
		return
	}
	c.nothing = err
	counts.errors.WithLabelValues(c.service.namespace, c.service.name, reason).Inc()
	c.logger.Warn("no endpoints", "error", err)
	c.cc.ReportError(err)
}

func equal(a, b []resolver.Endpoint) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if len(a[i].Addresses) != len(b[i].Addresses) || !a[i].Attributes.Equal(b[i].Attributes) {
			return false
		}
		for j := range a[i].Addresses {
			if a[i].Addresses[j].Addr != b[i].Addresses[j].Addr {
				return false
			}
		}
	}
	return true
}
