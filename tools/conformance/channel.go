package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"
)

// channel stands in for a gRPC channel: it is what a resolver reports to, and remembers what it was told.
type channel struct {
	resolver.ClientConn // nil: for methods that gRPC may add

	resolver resolver.Resolver
	slack    float64 // see Cluster

	mu        sync.Mutex
	changed   chan struct{} // closed at the next report
	updates   int
	endpoints []resolver.Endpoint
	fewest    int // endpoints in any state since forget
	errors    []error
	closed    bool
	late      int // reports after Close had returned
}

func newChannel(slack float64) *channel { return &channel{slack: slack, changed: make(chan struct{})} }

// UpdateState remembers a state. As the LB policies of grpc-go do, it refuses one without any address.
func (c *channel) UpdateState(state resolver.State) error {
	endpoints := state.Endpoints
	if endpoints == nil {
		// As grpc-go: a state of addresses alone has an endpoint for each.
		for _, address := range state.Addresses {
			endpoints = append(endpoints, resolver.Endpoint{Addresses: []resolver.Address{address}})
		}
	}
	// An endpoint without addresses is one that nobody can use.
	usable := slices.DeleteFunc(slices.Clone(endpoints), func(e resolver.Endpoint) bool { return len(e.Addresses) == 0 })
	c.report(func() {
		c.updates++
		c.endpoints = usable
		c.fewest = min(c.fewest, len(usable))
	})
	if len(endpoints) == 0 {
		return balancer.ErrBadResolverState
	}

	return nil
}

// NewAddress is how resolvers reported before UpdateState; kuberesolver v5 still does.
func (c *channel) NewAddress(addresses []resolver.Address) {
	_ = c.UpdateState(resolver.State{Addresses: addresses})
}

// ReportError remembers an error.
func (c *channel) ReportError(err error) {
	c.report(func() { c.errors = append(c.errors, err) })
}

// ParseServiceConfig knows no service config.
func (c *channel) ParseServiceConfig(string) *serviceconfig.ParseResult {
	return &serviceconfig.ParseResult{Err: errors.New("this channel reads no service config")}
}

func (c *channel) report(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		c.late++
	}
	change()
	close(c.changed)
	c.changed = make(chan struct{})
}

// forget makes errors, updates and the fewest endpoints count from now.
func (c *channel) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errors, c.updates, c.fewest = nil, 0, len(c.endpoints)
}

// until waits until a condition holds. The condition is called with the lock held.
func (c *channel) until(ctx context.Context, limit time.Duration, holds func() bool) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		c.mu.Lock()
		done, changed := holds(), c.changed
		c.mu.Unlock()
		if done {
			return true
		}
		select {
		case <-changed:
		case <-timer.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// stretched is a limit by a cluster's slack.
func stretched(limit time.Duration, slack float64) time.Duration {
	return time.Duration(float64(limit) * slack)
}

// sees waits for a state of exactly these endpoints, in any order.
func (c *channel) sees(ctx context.Context, limit time.Duration, endpoints ...string) error {
	slices.Sort(endpoints)
	limit = stretched(limit, c.slack)
	if c.until(ctx, limit, func() bool { return c.updates > 0 && slices.Equal(described(c.endpoints), endpoints) }) {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()

	return fmt.Errorf("after %v s: %s instead of %s", limit.Seconds(), c.summary(), inShort(endpoints))
}

// keeps fails if the endpoints change within a time.
func (c *channel) keeps(ctx context.Context, limit time.Duration, endpoints ...string) error {
	slices.Sort(endpoints)
	if !c.until(ctx, limit, func() bool { return !slices.Equal(described(c.endpoints), endpoints) }) {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()

	return fmt.Errorf("%s, and %s should have stayed", c.summary(), inShort(endpoints))
}

// hears waits for an error that contains, for each part, one of its alternatives, which are separated by "|".
func (c *channel) hears(ctx context.Context, limit time.Duration, parts ...string) error {
	says := func(err error) bool {
		return !slices.ContainsFunc(parts, func(part string) bool {
			return !slices.ContainsFunc(strings.Split(part, "|"), func(word string) bool { return strings.Contains(err.Error(), word) })
		})
	}
	limit = stretched(limit, c.slack)
	if c.until(ctx, limit, func() bool { return slices.ContainsFunc(c.errors, says) }) {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.errors) > 0 {
		return fmt.Errorf("the error lacks %s: %w", strings.Join(parts, ", "), c.errors[len(c.errors)-1])
	}

	if limit == 0 {
		return fmt.Errorf("%s instead of an error", c.summary())
	}

	return fmt.Errorf("after %v s: %s instead of an error", limit.Seconds(), c.summary())
}

// summary says what was last published.
func (c *channel) summary() string {
	switch {
	case c.updates == 0 && len(c.endpoints) == 0 && len(c.errors) > 0:
		return fmt.Sprintf("nothing but the error %q", c.errors[len(c.errors)-1])
	case c.updates == 0 && len(c.endpoints) == 0:
		return "nothing"
	}

	return inShort(described(c.endpoints))
}

// described names each endpoint by its addresses.
func described(endpoints []resolver.Endpoint) []string {
	all := make([]string, len(endpoints))
	for i, endpoint := range endpoints {
		addresses := make([]string, len(endpoint.Addresses))
		for j, address := range endpoint.Addresses {
			addresses[j] = address.Addr
		}
		slices.Sort(addresses)
		all[i] = strings.Join(addresses, "+")
	}
	slices.Sort(all)

	return all
}

func inShort(endpoints []string) string {
	const few = 4
	switch {
	case len(endpoints) == 0:
		return "no endpoint"
	case len(endpoints) > few:
		return fmt.Sprintf("%d endpoints", len(endpoints))
	}

	return strings.Join(endpoints, ", ")
}

func (c *channel) latest() []resolver.Endpoint {
	c.mu.Lock()
	defer c.mu.Unlock()

	return c.endpoints
}

func (c *channel) updated() int {
	c.mu.Lock()
	defer c.mu.Unlock()

	return c.updates
}

// stayed fails if there was a state without endpoints since forget.
func (c *channel) stayed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fewest == 0 {
		return errors.New("there was a state without endpoints in between")
	}

	return nil
}
