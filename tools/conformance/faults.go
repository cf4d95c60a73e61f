package conformance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/resolver"
)

// storm is how many requests in a minute of trouble are too many, for one Service of one client.
const storm = 60

// What becomes of a good set of endpoints while the API is in trouble.
var faultBehaviours = []Behaviour{
	{Name: "API server refuses connections for 60 s: the endpoints stay, no storm, changes are seen after it", Long: true, drive: func(ctx context.Context, s *stage) error {
		return s.away(ctx, Refusing)
	}},
	{Name: "API server breaks connections for 60 s: the endpoints stay, no storm, changes are seen after it", Long: true, drive: func(ctx context.Context, s *stage) error {
		return s.away(ctx, Breaking)
	}},
	{Name: "API server away when the channel is made: endpoints are seen when it is back", drive: func(ctx context.Context, s *stage) error {
		if err := s.service.set(ctx, sliceOf("a", at("10.0.0.1")...)); err != nil {
			return err
		}
		if err := s.outage(ctx, Refusing); err != nil {
			return err
		}
		c, err := s.watch()
		if err != nil {
			return err
		}
		pass(ctx, 5*time.Second)
		if err := s.outage(ctx, Up); err != nil {
			return err
		}

		return c.sees(ctx, recovery, on("10.0.0.1")...)
	}},
	{Name: "410 Gone in the middle of a watch: the endpoints stay, changes are seen", drive: func(ctx context.Context, s *stage) error {
		c, err := s.begin(ctx, sliceOf("a", at("10.0.0.1", "10.0.0.2")...), sliceOf("b", at("10.0.0.3")...))
		if err != nil {
			return err
		}
		// A resolver may take a watch that is over sooner for a failure, and not resume it.
		if err := s.requests.lasted(ctx, soon, recovery); err != nil {
			return err
		}
		c.forget()
		// It must not fail to resume it either, or it may begin anew without asking for what is gone.
		if err := s.outage(ctx, Silent); err != nil {
			return err
		}
		// What happens now can only be learnt by a new list: also that a slice is gone.
		if err := errors.Join(s.service.drop(ctx, "b"), s.service.set(ctx, sliceOf("a", at("10.0.0.2", "10.0.0.4")...))); err != nil {
			return err
		}
		if err := s.cluster.Expire(ctx); err != nil {
			return err
		}
		if err := s.outage(ctx, Up); err != nil {
			return err
		}
		if err := c.sees(ctx, recovery, on("10.0.0.2", "10.0.0.4")...); err != nil {
			return err
		}

		return c.stayed()
	}},
	{Name: "The watch ends 20 times, each time with a change at once: each is seen within 90 s, at most 3 requests for each", Long: true, drive: func(ctx context.Context, s *stage) error {
		return s.ends(ctx, 20, recovery)
	}},
	{Name: "The watch ends 20 times, each time with a change at once: each is seen within 5 s", Long: true, drive: func(ctx context.Context, s *stage) error {
		return s.ends(ctx, 20, 5*time.Second)
	}},
	{Name: "For 60 s each watch ends as it begins: the endpoints stay, no storm, changes are seen after it", Long: true, drive: func(ctx context.Context, s *stage) error {
		c, err := s.begin(ctx, sliceOf("a", at("10.0.0.1")...))
		if err != nil {
			return err
		}
		before := s.requests.count()
		for start := time.Now(); time.Since(start) < time.Minute && ctx.Err() == nil; {
			s.cluster.CloseWatches()
			pass(ctx, 20*time.Millisecond)
		}
		if made := s.requests.count() - before; made > storm {
			return fmt.Errorf("%d requests in 60 s", made)
		}
		if err := c.keeps(ctx, 0, on("10.0.0.1")...); err != nil {
			return err
		}
		if err := s.service.set(ctx, sliceOf("a", at("10.0.0.1", "10.0.0.2")...)); err != nil {
			return err
		}

		return c.sees(ctx, recovery, on("10.0.0.1", "10.0.0.2")...)
	}},
	{Name: "The token is rotated, and the old one expires 2 minutes later: the next watch is made with the new one", Long: true, drive: func(ctx context.Context, s *stage) error {
		c, err := s.begin(ctx, sliceOf("a", at("10.0.0.1")...))
		if err != nil {
			return err
		}
		c.forget()
		old := s.token
		if err := s.renewToken(ctx); err != nil {
			return err
		}
		// The kubelet renews a token when a fifth of its life is left, which is 2 minutes for the shortest-lived.
		pass(ctx, 2*time.Minute)
		if err := errors.Join(s.cluster.RevokeToken(ctx, old), s.endWatches(ctx)); err != nil {
			return err
		}
		if err := s.service.set(ctx, sliceOf("a", at("10.0.0.1", "10.0.0.2")...)); err != nil {
			return err
		}
		if err := c.sees(ctx, 5*time.Second, on("10.0.0.1", "10.0.0.2")...); err != nil {
			return err
		}

		return c.stayed()
	}},
	{Name: "The token has expired for 60 s: the endpoints stay, no storm, changes are seen with a new one", Long: true, drive: func(ctx context.Context, s *stage) error {
		return s.trouble(ctx,
			func() error { return errors.Join(s.cluster.RevokeToken(ctx, s.token), s.endWatches(ctx)) },
			func() error { return s.renewToken(ctx) })
	}},
	{Name: "ResolveNow, 1,000 times, costs no request", drive: func(ctx context.Context, s *stage) error {
		c, err := s.begin(ctx, sliceOf("a", at("10.0.0.1")...))
		if err != nil {
			return err
		}
		before := s.requests.count()
		for range 1000 {
			c.resolver.ResolveNow(resolver.ResolveNowOptions{})
		}
		pass(ctx, soon)
		if made := s.requests.count() - before; made > 0 {
			return fmt.Errorf("%d requests", made)
		}

		return nil
	}},
}

// away takes the API server away for a minute.
func (s *stage) away(ctx context.Context, outage Outage) error {
	return s.trouble(ctx, func() error { return s.outage(ctx, outage) }, func() error { return s.outage(ctx, Up) })
}

// trouble makes trouble for a minute, in which the Service changes.
func (s *stage) trouble(ctx context.Context, start, end func() error) error {
	c, err := s.begin(ctx, sliceOf("a", at("10.0.0.1")...))
	if err != nil {
		return err
	}
	before := s.requests.count()
	if err := start(); err != nil {
		return err
	}
	if err := s.service.set(ctx, sliceOf("a", at("10.0.0.2")...)); err != nil {
		return err
	}
	if err := c.keeps(ctx, time.Minute, on("10.0.0.1")...); err != nil {
		return err
	}
	if made := s.requests.count() - before; made > storm {
		return fmt.Errorf("%d requests in 60 s", made)
	}
	if err := end(); err != nil {
		return err
	}

	return c.sees(ctx, recovery, on("10.0.0.2")...)
}

// ends ends the watch, changes the Service, and waits for the change; and does so many times.
func (s *stage) ends(ctx context.Context, times int, limit time.Duration) error {
	c, err := s.begin(ctx, sliceOf("a", at("10.0.0.1")...))
	if err != nil {
		return err
	}
	c.forget()
	before := s.requests.count()
	for i := range times {
		if err := s.endWatches(ctx); err != nil {
			return err
		}
		ip := fmt.Sprintf("10.0.1.%d", 1+i)
		if err := s.service.set(ctx, sliceOf("a", at(ip)...)); err != nil {
			return err
		}
		if err := c.sees(ctx, limit, on(ip)...); err != nil {
			return fmt.Errorf("end %d: %w", 1+i, err)
		}
	}
	if made := s.requests.count() - before; made > 3*times {
		return fmt.Errorf("%d requests", made)
	}

	return c.stayed()
}
