package endpointslice

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/balancer"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/clock"
)

var patienceStart = time.Unix(0, 0)

// join makes a channel over a store without an API server.
func join(t *testing.T, s *store, coalesce time.Duration) *conn {
	t.Helper()
	cc := newConn()
	c := &channel{
		cc: cc, view: view{target: Target{Port: "grpc"}}, coalesce: coalesce, clock: clock.RealClock{},
		logger: slog.New(slog.DiscardHandler), release: func() {},
		service: &service{namespace: "prod", name: "rng", store: s},
	}
	c.start()
	t.Cleanup(c.Close)
	return cc
}

func put(t *testing.T, s *store, objects ...*discoveryv1.EndpointSlice) {
	t.Helper()
	var all []any
	for _, object := range objects {
		all = append(all, object)
	}
	if err := s.Replace(all, "1"); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

func wantUpdates(t *testing.T, c *conn, want int, endpoints ...string) {
	t.Helper()
	synctest.Wait()
	if got := c.updates(); got != want || strings.Join(c.endpoints(), " ") != strings.Join(endpoints, " ") {
		t.Fatalf("got %d updates, the last %v; want %d, %v", got, c.endpoints(), want, endpoints)
	}
}

const window = 50 * time.Millisecond

func TestTheFirstStateIsNotDelayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(time.Now())
		c := join(t, s, window)
		synctest.Wait()
		put(t, s, sliceOf("rng-1", 8081, pod("a", "10.0.0.1")))
		wantUpdates(t, c, 1, "10.0.0.1:8081")
	})
}

func TestALateChannelGetsThePresentStateAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(time.Now())
		put(t, s, sliceOf("rng-1", 8081, pod("a", "10.0.0.1")))
		wantUpdates(t, join(t, s, window), 1, "10.0.0.1:8081")
	})
}

func TestAPartOfTheFirstListIsNotPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(time.Now())
		c := join(t, s, window)
		s.Add(sliceOf("rng-1", 8081, pod("a", "10.0.0.1"))) // as a watch that began without a list would
		wantUpdates(t, c, 0)
	})
}

func TestABurstIsPublishedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(time.Now())
		c := join(t, s, window)
		put(t, s, sliceOf("rng-1", 8081, pod("a", "10.0.0.1")))
		wantUpdates(t, c, 1, "10.0.0.1:8081")
		time.Sleep(time.Second)
		// After a quiet time, a change goes out at once.
		put(t, s, sliceOf("rng-1", 8081, pod("a", "10.0.0.1"), pod("b", "10.0.0.2")))
		wantUpdates(t, c, 2, "10.0.0.1:8081", "10.0.0.2:8081")
		// Those that follow wait for the end of the window.
		for range 4 {
			time.Sleep(window / 5)
			put(t, s, sliceOf("rng-1", 8081, pod("b", "10.0.0.2")))
			put(t, s, sliceOf("rng-1", 8081, pod("c", "10.0.0.3")))
			wantUpdates(t, c, 2, "10.0.0.1:8081", "10.0.0.2:8081")
		}
		time.Sleep(window / 5)
		wantUpdates(t, c, 3, "10.0.0.3:8081")
		time.Sleep(time.Hour)
		wantUpdates(t, c, 3, "10.0.0.3:8081")
	})
}

func TestTheSameStateIsNotPublishedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(time.Now())
		c := join(t, s, window)
		put(t, s, sliceOf("rng-1", 8081, pod("a", "10.0.0.1"), pod("b", "10.0.0.2")))
		time.Sleep(time.Second)
		put(t, s, sliceOf("rng-2", 8081, pod("b", "10.0.0.2")), sliceOf("rng-1", 8081, pod("a", "10.0.0.1"), pod("c", "10.0.0.3", unready)))
		time.Sleep(time.Second)
		wantUpdates(t, c, 1, "10.0.0.1:8081", "10.0.0.2:8081")
		// Attributes are part of it.
		put(t, s, sliceOf("rng-2", 8081, pod("b", "10.0.0.2", zone("b"))), sliceOf("rng-1", 8081, pod("a", "10.0.0.1")))
		wantUpdates(t, c, 2, "10.0.0.1:8081", "10.0.0.2:8081")
	})
}

func TestNothingLeftIsBelievedAfterTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(time.Now())
		c := join(t, s, window)
		put(t, s, sliceOf("rng-1", 8081, pod("a", "10.0.0.1")))
		time.Sleep(time.Second)
		put(t, s)
		time.Sleep(window - time.Nanosecond)
		wantUpdates(t, c, 1, "10.0.0.1:8081")
		time.Sleep(time.Nanosecond)
		wantUpdates(t, c, 2)
		if last, n := c.reported(); n != 1 || !strings.Contains(last, `service "rng" in namespace "prod" has no EndpointSlice`) {
			t.Errorf("got %d errors, the last %q", n, last)
		}
		// The way back is not delayed.
		time.Sleep(time.Second)
		put(t, s, sliceOf("rng-2", 8081, pod("b", "10.0.0.2")))
		wantUpdates(t, c, 3, "10.0.0.2:8081")
		// A slice that is deleted before its successor is there goes unseen.
		time.Sleep(time.Second)
		put(t, s)
		time.Sleep(window / 2)
		put(t, s, sliceOf("rng-3", 8081, pod("b", "10.0.0.2")))
		time.Sleep(time.Second)
		wantUpdates(t, c, 3, "10.0.0.2:8081")
	})
}

func TestNothingLeftInABurstHasAWindowOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(time.Now())
		c := join(t, s, window)
		put(t, s, sliceOf("rng-1", 8081, pod("a", "10.0.0.1")))
		time.Sleep(window - time.Nanosecond)
		put(t, s)
		time.Sleep(window)
		wantUpdates(t, c, 1, "10.0.0.1:8081")
		time.Sleep(time.Nanosecond)
		wantUpdates(t, c, 2)
	})
}

func TestALateChannelHasItsEndpointsInSpiteOfAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(time.Now())
		put(t, s, sliceOf("rng-1", 8081, pod("a", "10.0.0.1")))
		s.fail(errors.New("away"))
		c := join(t, s, window)
		wantUpdates(t, c, 1, "10.0.0.1:8081")
		if last, n := c.reported(); n != 1 || last != "away" {
			t.Errorf("got %d errors, the last %q", n, last)
		}
	})
}

func TestWithoutAWindowEveryChangeIsPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(time.Now())
		c := join(t, s, -1)
		put(t, s, sliceOf("rng-1", 8081, pod("a", "10.0.0.1")))
		put(t, s, sliceOf("rng-1", 8081, pod("b", "10.0.0.2")))
		put(t, s)
		wantUpdates(t, c, 3)
	})
}

func TestWhyThereIsNothingIsToldAgainAfterAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(time.Now())
		c := join(t, s, window)
		put(t, s)
		s.fail(errors.New("away"))
		synctest.Wait()
		if last, n := c.reported(); n != 2 || last != "away" {
			t.Fatalf("got %d errors, the last %q", n, last)
		}
		s.fail(errors.New("away"))
		synctest.Wait()
		put(t, s)
		time.Sleep(window)
		synctest.Wait()
		if last, n := c.reported(); n != 4 || !strings.Contains(last, "no EndpointSlice") {
			t.Errorf("got %d errors, the last %q", n, last)
		}
		wantUpdates(t, c, 0)
	})
}

func TestAStateThatIsNotAcceptedIsOfferedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(time.Now())
		c := join(t, s, window)
		c.reject = balancer.ErrBadResolverState
		put(t, s, sliceOf("rng-1", 8081, pod("a", "10.0.0.1")))
		wantUpdates(t, c, 1, "10.0.0.1:8081")
		c.reject = nil
		time.Sleep(time.Second)
		put(t, s, sliceOf("rng-1", 8081, pod("a", "10.0.0.1")))
		wantUpdates(t, c, 2, "10.0.0.1:8081")
	})
}

func TestPoliciesThatKnowNoEndpointsGetOneAddressOfEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(time.Now())
		c := join(t, s, window)
		put(t, s, sliceOf("rng-4", 8081, pod("a", "10.0.0.1"), pod("b", "10.0.0.2")), sliceOf("rng-6", 8081, pod("a", "fd00::1")))
		wantUpdates(t, c, 1, "10.0.0.1:8081+[fd00::1]:8081", "10.0.0.2:8081")
		if got := c.states[0].Addresses; len(got) != 2 || got[0].Addr != "10.0.0.1:8081" || got[1].Addr != "10.0.0.2:8081" {
			t.Errorf("got %v", got)
		}
	})
}
