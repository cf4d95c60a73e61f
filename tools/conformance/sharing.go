package conformance

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// What channels to one Service share, and what is left when they are closed.
var sharingBehaviours = []Behaviour{
	{Name: "Two channels to one Service, on two ports, share one watch", drive: func(ctx context.Context, s *stage) error {
		first, err := s.begin(ctx, sliceOf("a", at("10.0.0.1")...))
		if err != nil {
			return err
		}
		before := s.requests.count()
		second, err := s.open(Settings{}, s.targetOf("http-admin"))
		if err != nil {
			return err
		}
		if err := second.sees(ctx, soon, "10.0.0.1:8080"); err != nil {
			return err
		}
		if err := s.service.set(ctx, sliceOf("a", at("10.0.0.1", "10.0.0.2")...)); err != nil {
			return err
		}
		if err := errors.Join(
			first.sees(ctx, soon, on("10.0.0.1", "10.0.0.2")...),
			second.sees(ctx, soon, "10.0.0.1:8080", "10.0.0.2:8080"),
		); err != nil {
			return err
		}
		if made := s.requests.count() - before; made > 0 {
			return fmt.Errorf("the second made %d request of its own", made)
		}

		return nil
	}},
	{Name: "Of two channels to one Service, each sees all when the other is closed", drive: func(ctx context.Context, s *stage) error {
		first, err := s.begin(ctx, sliceOf("a", at("10.0.0.1")...))
		if err != nil {
			return err
		}
		second, err := s.watch()
		if err != nil {
			return err
		}
		if err := second.sees(ctx, soon, on("10.0.0.1")...); err != nil {
			return err
		}
		if err := first.close(ctx); err != nil {
			return err
		}
		if err := s.service.set(ctx, sliceOf("a", at("10.0.0.2")...)); err != nil {
			return err
		}
		if err := second.sees(ctx, soon, on("10.0.0.2")...); err != nil {
			return err
		}
		pass(ctx, 100*time.Millisecond)

		return first.untold()
	}},
	{Name: "Close ends the watch, and leaves no goroutine", drive: func(ctx context.Context, s *stage) error {
		c, err := s.begin(ctx, sliceOf("a", at("10.0.0.1")...))
		if err != nil {
			return err
		}

		return s.leavesNothing(ctx, c)
	}},
	{Name: "Close in the middle of changes, 20 times: nothing is reported after it, no goroutine is left", drive: func(ctx context.Context, s *stage) error {
		for i := range 20 {
			// Another size each time: the state to begin with must differ from the one before.
			pods := many(0, 1+i)
			c, err := s.begin(ctx, sliceOf("a", pods...))
			if err != nil {
				return err
			}
			for j := range 10 {
				if err := s.service.set(ctx, sliceOf("a", many(100, 101+j)...)); err != nil {
					return err
				}
			}
			if err := s.leavesNothing(ctx, c); err != nil {
				return err
			}
		}

		return nil
	}},
	{Name: "Close takes less than 2 s when the API server is away, and leaves no goroutine", drive: func(ctx context.Context, s *stage) error {
		c, err := s.begin(ctx, sliceOf("a", at("10.0.0.1")...))
		if err != nil {
			return err
		}
		if err := s.outage(ctx, Refusing); err != nil {
			return err
		}
		pass(ctx, 10*time.Second) // into the backoff

		return s.leavesNothing(ctx, c)
	}},
	{Name: "Close takes less than 2 s when the API server was never there, and leaves no goroutine", drive: func(ctx context.Context, s *stage) error {
		if _, err := s.begin(ctx, sliceOf("a", at("10.0.0.1")...)); err != nil {
			return err // so that a resolver that does nothing does not pass
		}
		if err := s.end(ctx); err != nil {
			return err
		}
		if err := s.outage(ctx, Refusing); err != nil {
			return err
		}
		c, err := s.watch()
		if err != nil {
			return err
		}
		pass(ctx, 10*time.Second)

		return s.leavesNothing(ctx, c)
	}},
}

// leavesNothing closes a channel, the last to be open.
func (s *stage) leavesNothing(ctx context.Context, c *channel) error {
	if err := c.close(ctx); err != nil {
		return err
	}
	// A goroutine that has said that it is done may still be there for a moment.
	var left string
	open := func() int { return s.requests.opened(s.requests.count()) }
	for range 20 {
		if left = running(ctx, s.resolver.Packages); left == "" && open() == 0 {
			break
		}
		pass(ctx, 50*time.Millisecond)
	}
	if open() > 0 {
		return errors.New("the watch is still open 1 s after Close")
	}
	if left != "" {
		return fmt.Errorf("1 s after Close a goroutine still runs %s", left)
	}

	return c.untold()
}

// untold fails if the resolver told a channel something after it was closed.
func (c *channel) untold() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.late > 0 {
		return errors.New("the channel was told something after Close had returned")
	}

	return nil
}
