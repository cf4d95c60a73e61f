package consistenthash_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
)

const bounded = `{"requestHashHeader": "x-user-id"}`

func TestAnEndpointInTransientFailureIsSteppedOverAndKeepsItsPlace(t *testing.T) {
	for _, config := range []string{unbounded, bounded} {
		pods := addresses(10)
		users := keys(2000)
		c := newChannel(t, "consistent_hash")
		c.update(t, config, endpointsAt(pods...)...)
		before := c.owners(t, users)

		broken := pods[4]
		c.refuse(broken, errRefused)
		c.lose(broken)
		c.await(t, "the broken endpoint's keys go elsewhere", func() bool {
			_, done, err := c.hold(keyOf(before, broken))
			if err != nil {
				return false
			}
			done()
			return true
		})
		for user, now := range c.owners(t, users) {
			if moved := now != before[user]; moved != (before[user] == broken) {
				t.Fatalf("config %s: key %s went to %s, goes to %s while %s is broken", config, user, before[user], now, broken)
			}
		}

		c.refuse(broken, nil)
		c.backOff(broken)
		c.await(t, "the endpoint is back", func() bool { return c.pick(t, keyOf(before, broken)) == broken })
		if diff := cmp.Diff(before, c.owners(t, users)); diff != "" {
			t.Errorf("config %s: owners of keys (-before +after the endpoint came back):\n%s", config, diff)
		}
	}
}

// keyOf returns some key of an endpoint.
func keyOf(owners map[string]string, endpoint string) string {
	var found []string
	for key, owner := range owners {
		if owner == endpoint {
			found = append(found, key)
		}
	}
	return slices.Min(found) // panics if there is none: the test has too few keys
}

func TestIdleAndConnectingEndpointsKeepTheirKeys(t *testing.T) {
	pods := addresses(10)
	users := keys(500)
	c := newChannel(t, "consistent_hash")
	c.update(t, bounded, endpointsAt(pods...)...)
	before := c.owners(t, users)

	lost := pods[2]
	published := c.published()
	c.hang(lost, true)
	c.lose(lost)
	c.await(t, "the endpoint has been idle and is connecting", func() bool { return c.published() >= published+2 })
	for _, state := range c.since(published) { // idle first, then connecting
		if state.ConnectivityState != connectivity.Ready {
			t.Errorf("state is %v while nine endpoints are READY: want READY", state.ConnectivityState)
		}
		for _, user := range users {
			address, done, err := pickFrom(withHeader(user), state.Picker)
			switch {
			case before[user] == lost:
				if !errors.Is(err, balancer.ErrNoSubConnAvailable) {
					t.Fatalf("key %s of the lost endpoint: picked %q, %v: want it to wait", user, address, err)
				}
			case err != nil || address != before[user]:
				t.Fatalf("key %s: picked %q, %v: want %s", user, address, err, before[user])
			default:
				done()
			}
		}
	}

	c.connected(lost)
	c.await(t, "the endpoint is back", func() bool { return c.pick(t, keyOf(before, lost)) == lost })
}

func TestAPickerOfAnIdleEndpointMakesItConnect(t *testing.T) {
	c := newChannel(t, "consistent_hash")
	c.update(t, bounded, endpointsAt("10.0.0.1:80")...)
	published := c.published()
	c.lose("10.0.0.1:80")
	idle := c.since(published)[0]
	if idle.ConnectivityState != connectivity.Idle {
		t.Fatalf("state after the only connection broke is %v: want IDLE", idle.ConnectivityState)
	}
	if _, _, err := pickFrom(withHeader("k"), idle.Picker); !errors.Is(err, balancer.ErrNoSubConnAvailable) {
		t.Errorf("pick while idle: %v: want it to wait", err)
	}
	c.await(t, "it has connected", func() bool { return c.state().ConnectivityState == connectivity.Ready })
}

func TestAWaitingRequestIsNotInFlight(t *testing.T) {
	pods := addresses(4)
	c := newChannel(t, "consistent_hash")
	c.update(t, bounded, endpointsAt(pods...)...)
	before := c.owners(t, keys(100))
	waits, goes := pods[0], pods[1]
	c.hang(waits, true)
	c.lose(waits)
	c.await(t, "the endpoint's keys wait", func() bool {
		_, _, err := c.hold(keyOf(before, waits))
		return errors.Is(err, balancer.ErrNoSubConnAvailable)
	})
	for range 50 {
		if _, _, err := c.hold(keyOf(before, waits)); !errors.Is(err, balancer.ErrNoSubConnAvailable) {
			t.Fatalf("pick: %v: want it to wait", err)
		}
	}
	c.connected(waits)
	c.await(t, "it has connected", func() bool { return c.pick(t, keyOf(before, waits)) == waits })

	// Were the fifty counted, an endpoint could hold many more than one.
	if got, _, err := c.hold(keyOf(before, goes)); err != nil || got != goes {
		t.Fatalf("pick: %q, %v: want %s", got, err, goes)
	}
	if got := c.pick(t, keyOf(before, goes)); got == goes {
		t.Errorf("a second request went to the endpoint that is full with one")
	}
}

func TestWhenAllEndpointsFailTheErrorSaysWhy(t *testing.T) {
	pods := addresses(3)
	c := newChannel(t, "consistent_hash")
	for _, pod := range pods {
		c.refuse(pod, errRefused)
	}
	c.update(t, bounded, endpointsAt(pods...)...)
	if got := c.state().ConnectivityState; got != connectivity.TransientFailure {
		t.Errorf("state is %v: want TRANSIENT_FAILURE", got)
	}
	for _, user := range keys(20) {
		if _, _, err := c.hold(user); !errors.Is(err, errRefused) {
			t.Fatalf("pick: %v: want the error of connecting", err)
		}
	}
	c.policy.ResolverError(errors.New("the name server is away"))
	if _, _, err := c.hold("k"); err == nil || !strings.Contains(err.Error(), "the name server is away") {
		t.Errorf("pick after a resolver error: %v: want it named", err)
	}
}

func TestWithoutEndpointsRequestsFailWithTheCause(t *testing.T) {
	c := newChannel(t, "consistent_hash")
	c.update(t, bounded, endpointsAt(addresses(3)...)...)
	c.policy.ResolverError(errors.New("a passing fault"))
	c.pick(t, "k") // a resolver's error takes no endpoints away

	if err := c.tryUpdate(t, bounded); !errors.Is(err, balancer.ErrBadResolverState) {
		t.Errorf("update without endpoints: %v: want ErrBadResolverState, which makes gRPC resolve again", err)
	}
	c.deliver()
	if got := c.state().ConnectivityState; got != connectivity.TransientFailure {
		t.Errorf("state is %v: want TRANSIENT_FAILURE", got)
	}
	for _, want := range []string{"the name resolver found none", "Service shop/cart has no ready endpoints"} {
		if _, _, err := c.hold("k"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("pick: %v: want it to say %q", err, want)
		}
		c.policy.ResolverError(errors.New("Service shop/cart has no ready endpoints"))
	}

	c.update(t, bounded, endpointsAt(addresses(3)...)...)
	c.pick(t, "k")
}

func TestAResolverErrorBeforeAnyEndpointsIsNamed(t *testing.T) {
	c := newChannel(t, "consistent_hash")
	c.policy.ResolverError(errors.New("the name server is away"))
	if _, _, err := c.hold("k"); err == nil || !strings.Contains(err.Error(), "the name server is away") {
		t.Errorf("pick: %v: want it to name the resolver's error", err)
	}
}

func TestAConfigOfAnotherPolicyIsRefused(t *testing.T) {
	c := newChannel(t, "consistent_hash")
	if err := c.policy.UpdateClientConnState(balancer.ClientConnState{}); err == nil {
		t.Error("an update without a config was accepted")
	}
}

func TestANewConfigTakesEffectAtOnce(t *testing.T) {
	endpoints := endpointsAt(addresses(4)...)
	c := newChannel(t, "consistent_hash")
	c.update(t, unbounded, endpoints...)
	first := c.pick(t, "k")
	c.update(t, bounded, endpoints...)
	held, done, err := c.hold("k")
	if err != nil || held != first {
		t.Fatalf("pick: %q, %v: want %s", held, err, first)
	}
	if second := c.pick(t, "k"); second == first {
		t.Errorf("a second request went to the endpoint that is full")
	}
	c.update(t, unbounded, endpoints...)
	if second := c.pick(t, "k"); second != first {
		t.Errorf("with the bound off again, a request went to %s: want %s", second, first)
	}
	done()
}
