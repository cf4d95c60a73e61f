package consistenthash_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
)

// patience is how long a test waits for what must happen before it fails.
const patience = 60 * time.Second

// channel stands in for gRPC's channel around a real LB policy. Its subchannels
// connect at once when asked, unless a test says otherwise. What subchannels
// report is kept until deliver or await hands it over, on the test's goroutine.
type channel struct {
	balancer.ClientConn // nil: what a policy needs beyond the methods below panics

	policy balancer.Balancer
	parser balancer.ConfigParser

	mu          sync.Mutex
	changed     chan struct{} // holds one token if something happened
	pending     []func()
	states      []balancer.State // all that the policy published
	subchannels map[string]*subchannel
	refused     map[string]error // connecting to these addresses fails
	hanging     map[string]bool  // connecting to these does not end
}

func newChannel(tb testing.TB, policyName string) *channel {
	tb.Helper()
	builder := balancer.Get(policyName)
	if builder == nil {
		tb.Fatalf("no policy %q is registered", policyName)
	}
	c := &channel{
		parser:      builder.(balancer.ConfigParser),
		changed:     make(chan struct{}, 1),
		subchannels: map[string]*subchannel{},
		refused:     map[string]error{},
		hanging:     map[string]bool{},
	}
	c.policy = builder.Build(c, balancer.BuildOptions{})
	tb.Cleanup(c.policy.Close)
	return c
}

// update hands the policy a resolver's result, as the channel does.
func (c *channel) update(tb testing.TB, config string, endpoints ...resolver.Endpoint) {
	tb.Helper()
	if err := c.tryUpdate(tb, config, endpoints...); err != nil {
		tb.Fatalf("UpdateClientConnState: %v", err)
	}
	c.deliver()
}

func (c *channel) tryUpdate(tb testing.TB, config string, endpoints ...resolver.Endpoint) error {
	tb.Helper()
	parsed, err := c.parser.ParseConfig(json.RawMessage(config))
	if err != nil {
		tb.Fatalf("ParseConfig(%s): %v", config, err)
	}
	return c.policy.UpdateClientConnState(balancer.ClientConnState{
		ResolverState:  resolver.State{Endpoints: endpoints},
		BalancerConfig: parsed,
	})
}

func (c *channel) NewSubConn(addrs []resolver.Address, opts balancer.NewSubConnOptions) (balancer.SubConn, error) {
	if len(addrs) != 1 {
		return nil, fmt.Errorf("a subchannel has one address, not %d", len(addrs))
	}
	sc := &subchannel{channel: c, address: addrs[0].Addr, listener: opts.StateListener}
	c.mu.Lock()
	c.subchannels[sc.address] = sc
	c.mu.Unlock()
	return sc, nil
}

func (c *channel) UpdateState(state balancer.State) {
	c.mu.Lock()
	c.states = append(c.states, state)
	c.mu.Unlock()
	c.notify()
}

func (c *channel) ResolveNow(resolver.ResolveNowOptions) {}

// later keeps what a subchannel reports: policies hold locks when they call one.
func (c *channel) later(report func()) {
	c.mu.Lock()
	c.pending = append(c.pending, report)
	c.mu.Unlock()
	c.notify()
}

func (c *channel) notify() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// deliver hands over what was reported, and what comes of it.
func (c *channel) deliver() {
	for {
		c.mu.Lock()
		pending := c.pending
		c.pending = nil
		c.mu.Unlock()
		if len(pending) == 0 {
			return
		}
		for _, report := range pending {
			report()
		}
	}
}

// await delivers until the condition holds. Policies leave IDLE on goroutines of
// their own, which is what there is to wait for.
func (c *channel) await(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	deadline := time.After(patience)
	for {
		c.deliver()
		if holds() {
			return
		}
		select {
		case <-c.changed:
		case <-deadline:
			tb.Fatalf("waited %v in vain until %s", patience, what)
		}
	}
}

func (c *channel) state() balancer.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.states) == 0 {
		return balancer.State{ConnectivityState: connectivity.Connecting}
	}
	return c.states[len(c.states)-1]
}

// since returns what was published after the first n states.
func (c *channel) since(n int) []balancer.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.states[n:len(c.states):len(c.states)]
}

func (c *channel) published() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.states)
}

// refuse makes connecting to an address fail from now on; nil lets it succeed.
func (c *channel) refuse(address string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		delete(c.refused, address)
		return
	}
	c.refused[address] = err
}

// hang makes connecting to an address last until it is called again with false.
func (c *channel) hang(address string, hanging bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hanging[address] = hanging
}

// lose breaks an address' connection.
func (c *channel) lose(address string) { c.report(address, connectivity.Idle, nil) }

// backOff ends the time after which a failed subchannel is tried again.
func (c *channel) backOff(address string) { c.report(address, connectivity.Idle, nil) }

// connected ends a connection attempt that hangs.
func (c *channel) connected(address string) { c.report(address, connectivity.Ready, nil) }

func (c *channel) report(address string, state connectivity.State, err error) {
	c.mu.Lock()
	sc := c.subchannels[address]
	c.mu.Unlock()
	sc.listener(balancer.SubConnState{ConnectivityState: state, ConnectionError: err})
	c.deliver()
}

// pick asks the present picker where a key's RPC goes, and ends it at once.
func (c *channel) pick(tb testing.TB, key string) string {
	tb.Helper()
	address, done, err := c.hold(key)
	if err != nil {
		tb.Fatalf("pick of key %q: %v", key, err)
	}
	done()
	return address
}

// hold asks the present picker where a key's RPC goes. The RPC lasts until done
// is called.
func (c *channel) hold(key string) (address string, done func(), err error) {
	return pickFrom(withHeader(key), c.state().Picker)
}

const header = "x-user-id"

// withHeader carries the key as both policies under test can read it.
func withHeader(key string) context.Context {
	return metadata.NewOutgoingContext(context.Background(), metadata.Pairs(header, key))
}

func pickFrom(ctx context.Context, p balancer.Picker) (address string, done func(), err error) {
	result, err := p.Pick(balancer.PickInfo{FullMethodName: "/test.Service/Method", Ctx: ctx})
	if err != nil {
		return "", nil, err
	}
	return result.SubConn.(*subchannel).address, func() {
		if result.Done != nil {
			result.Done(balancer.DoneInfo{})
		}
	}, nil
}

// owners picks for many keys.
func (c *channel) owners(tb testing.TB, keys []string) map[string]string {
	tb.Helper()
	owners := make(map[string]string, len(keys))
	for _, key := range keys {
		owners[key] = c.pick(tb, key)
	}
	return owners
}

type subchannel struct {
	balancer.SubConn // nil, as above

	channel  *channel
	address  string
	listener func(balancer.SubConnState)
}

func (sc *subchannel) Connect() {
	c := sc.channel
	c.later(func() {
		sc.listener(balancer.SubConnState{ConnectivityState: connectivity.Connecting})
		c.mu.Lock()
		err, hanging := c.refused[sc.address], c.hanging[sc.address]
		c.mu.Unlock()
		switch {
		case hanging:
		case err != nil:
			sc.listener(balancer.SubConnState{ConnectivityState: connectivity.TransientFailure, ConnectionError: err})
		default:
			sc.listener(balancer.SubConnState{ConnectivityState: connectivity.Ready})
		}
	})
}

func (sc *subchannel) Shutdown() {
	sc.channel.later(func() { sc.listener(balancer.SubConnState{ConnectivityState: connectivity.Shutdown}) })
}

// RegisterHealthListener answers as gRPC does when no health check is configured.
func (sc *subchannel) RegisterHealthListener(listener func(balancer.SubConnState)) {
	sc.channel.later(func() { listener(balancer.SubConnState{ConnectivityState: connectivity.Ready}) })
}
