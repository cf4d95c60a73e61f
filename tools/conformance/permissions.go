package conformance

import (
	"context"
	"time"
)

// What a channel hears when its client may not know, or when there is nothing to know.
var permissionBehaviours = []Behaviour{
	{Name: "403: an error names verb, resource and namespace; once permitted, endpoints are seen", drive: func(ctx context.Context, s *stage) error {
		if err := s.forbid(ctx); err != nil {
			return err
		}
		if err := s.service.set(ctx, sliceOf("a", at("10.0.0.1")...)); err != nil {
			return err
		}
		c, err := s.watch()
		if err != nil {
			return err
		}
		if err := c.hears(ctx, 5*time.Second, "list|watch", s.resolver.Reads, s.service.namespace); err != nil {
			return err
		}
		if err := s.permit(ctx); err != nil {
			return err
		}

		return c.sees(ctx, recovery, on("10.0.0.1")...)
	}},
	{Name: "The permission is taken away for 60 s: the endpoints stay, an error names it, changes are seen after it", Long: true, drive: func(ctx context.Context, s *stage) error {
		c, err := s.begin(ctx, sliceOf("a", at("10.0.0.1")...))
		if err != nil {
			return err
		}
		if err := s.forbid(ctx); err != nil {
			return err
		}
		if err := s.endWatches(ctx); err != nil {
			return err
		}
		if err := s.service.set(ctx, sliceOf("a", at("10.0.0.2")...)); err != nil {
			return err
		}
		if err := c.keeps(ctx, time.Minute, on("10.0.0.1")...); err != nil {
			return err
		}
		if err := c.hears(ctx, 0, "list|watch", s.resolver.Reads, s.service.namespace); err != nil {
			return err
		}
		if err := s.permit(ctx); err != nil {
			return err
		}

		return c.sees(ctx, recovery, on("10.0.0.2")...)
	}},
	{Name: "The Service does not exist: an error names it; once it does, its endpoints are seen", drive: func(ctx context.Context, s *stage) error {
		c, err := s.watch()
		if err != nil {
			return err
		}
		if err := c.hears(ctx, 5*time.Second, serviceName, s.service.namespace); err != nil {
			return err
		}
		if err := s.service.set(ctx, sliceOf("a", at("10.0.0.1")...)); err != nil {
			return err
		}

		return c.sees(ctx, soon, on("10.0.0.1")...)
	}},
	{Name: "The Service is made after the channel: its endpoints are seen", drive: func(ctx context.Context, s *stage) error {
		c, err := s.watch()
		if err != nil {
			return err
		}
		pass(ctx, soon)
		if err := s.service.set(ctx, sliceOf("a", at("10.0.0.1")...)); err != nil {
			return err
		}

		return c.sees(ctx, soon, on("10.0.0.1")...)
	}},
	{Name: "The Service is deleted: no endpoint is left, an error names it", drive: func(ctx context.Context, s *stage) error {
		c, err := s.begin(ctx, sliceOf("a", at("10.0.0.1")...))
		if err != nil {
			return err
		}
		if err := s.service.remove(ctx); err != nil {
			return err
		}
		if err := c.sees(ctx, soon); err != nil {
			return err
		}

		return c.hears(ctx, soon, serviceName, s.service.namespace)
	}},
}
