package conformance

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Which endpoints a channel is told of.
var endpointBehaviours = []Behaviour{
	{Name: "The endpoints of two slices are one set", drive: func(ctx context.Context, s *stage) error {
		c, err := s.begin(ctx, sliceOf("a", at("10.0.0.1", "10.0.0.2")...), sliceOf("b", at("10.0.0.3")...))
		if err != nil {
			return err
		}
		if err := s.service.set(ctx, sliceOf("b", at("10.0.0.3", "10.0.0.4")...)); err != nil {
			return err
		}

		return c.sees(ctx, soon, on("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4")...)
	}},
	{Name: "A deleted slice takes its endpoints away, and no others", drive: func(ctx context.Context, s *stage) error {
		c, err := s.begin(ctx, sliceOf("a", at("10.0.0.1")...), sliceOf("b", at("10.0.0.2")...))
		if err != nil {
			return err
		}
		if err := s.service.drop(ctx, "b"); err != nil {
			return err
		}

		return c.sees(ctx, soon, on("10.0.0.1")...)
	}},
	{Name: "An emptied slice takes its endpoints away, and no others", drive: func(ctx context.Context, s *stage) error {
		return s.change(ctx, []slice{sliceOf("a", at("10.0.0.1")...), sliceOf("b", at("10.0.0.2")...)}, []slice{sliceOf("b")}, "10.0.0.1")
	}},
	{Name: "Scaled to zero, no endpoint is left", drive: func(ctx context.Context, s *stage) error {
		return s.change(ctx, []slice{sliceOf("a", at("10.0.0.1", "10.0.0.2")...)}, []slice{sliceOf("a")})
	}},
	{Name: "Scaled to zero and back, the new endpoints are used", drive: func(ctx context.Context, s *stage) error {
		c, err := s.begin(ctx, sliceOf("a", at("10.0.0.1")...))
		if err != nil {
			return err
		}
		if err := s.service.set(ctx, sliceOf("a")); err != nil {
			return err
		}
		pass(ctx, soon)
		if err := s.service.set(ctx, sliceOf("a", at("10.0.0.2", "10.0.0.3")...)); err != nil {
			return err
		}

		return c.sees(ctx, soon, on("10.0.0.2", "10.0.0.3")...)
	}},
	{Name: "Slices of another Service in the namespace do not count", drive: func(ctx context.Context, s *stage) error {
		other := &service{cluster: s.cluster, namespace: s.service.namespace, name: "other", slices: map[string]slice{}}
		if err := other.set(ctx, sliceOf("a", at("10.0.9.1")...)); err != nil {
			return err
		}
		c, err := s.begin(ctx, sliceOf("a", at("10.0.0.1")...))
		if err != nil {
			return err
		}
		if err := other.set(ctx, sliceOf("a", at("10.0.9.2")...)); err != nil {
			return err
		}

		return c.keeps(ctx, soon, on("10.0.0.1")...)
	}},
	{Name: "250 endpoints in 3 slices are all there", drive: func(ctx context.Context, s *stage) error {
		_, err := s.begin(ctx, sliceOf("a", many(0, 100)...), sliceOf("b", many(100, 200)...), sliceOf("c", many(200, 250)...))

		return err
	}},
	{Name: "10,000 endpoints are all there, and a change among them is seen", drive: func(ctx context.Context, s *stage) error {
		var slices []slice
		for i := range 100 {
			slices = append(slices, sliceOf(fmt.Sprint(i), many(100*i, 100*i+100)...))
		}
		c, err := s.begin(ctx, slices...)
		if err != nil {
			return err
		}
		if err := s.service.set(ctx, sliceOf("99", many(9900, 9999)...)); err != nil {
			return err
		}

		return c.sees(ctx, soon, on(ipsOf(many(0, 9999))...)...)
	}},
	{Name: "An endpoint that stands in two slices for a moment is one endpoint", drive: func(ctx context.Context, s *stage) error {
		c, err := s.begin(ctx, sliceOf("a", at("10.0.0.1", "10.0.0.2")...))
		if err != nil {
			return err
		}
		for _, step := range [][]slice{ // 10.0.0.2 moves from a to b
			{sliceOf("b", at("10.0.0.2", "10.0.0.3")...)},
			{sliceOf("a", at("10.0.0.1")...)},
		} {
			if err := s.service.set(ctx, step...); err != nil {
				return err
			}
			if err := c.sees(ctx, soon, on("10.0.0.1", "10.0.0.2", "10.0.0.3")...); err != nil {
				return err
			}
		}

		return nil
	}},
	{Name: "Both addresses of a dual-stack pod are one endpoint", drive: func(ctx context.Context, s *stage) error {
		if err := s.service.set(ctx,
			sliceOf("v4", pod{ip: "10.0.0.1", name: "one"}, pod{ip: "10.0.0.2", name: "two"}),
			sliceOf("v6", pod{ip: "fd00::1", name: "one"}, pod{ip: "fd00::2", name: "two"})); err != nil {
			return err
		}
		c, err := s.watch()
		if err != nil {
			return err
		}

		return c.sees(ctx, soon, "10.0.0.1:8081+[fd00::1]:8081", "10.0.0.2:8081+[fd00::2]:8081")
	}},
	{Name: "IPv6 endpoints are used", drive: func(ctx context.Context, s *stage) error {
		if err := s.service.set(ctx, sliceOf("v6", at("fd00::1")...)); err != nil {
			return err
		}
		c, err := s.watch()
		if err != nil {
			return err
		}

		return c.sees(ctx, soon, "[fd00::1]:8081")
	}},
	{Name: "An endpoint that becomes ready is added, one that becomes unready is removed", drive: func(ctx context.Context, s *stage) error {
		one, two := pod{ip: "10.0.0.1"}, pod{ip: "10.0.0.2"}
		c, err := s.begin(ctx, sliceOf("a", one))
		if err != nil {
			return err
		}
		for _, step := range []struct {
			slice slice
			want  []string
		}{
			{sliceOf("a", one, two.but(unready)), on("10.0.0.1")},
			{sliceOf("a", one, two), on("10.0.0.1", "10.0.0.2")},
			{sliceOf("a", one.but(unready), two), on("10.0.0.2")},
		} {
			if err := s.service.set(ctx, step.slice); err != nil {
				return err
			}
			pass(ctx, 200*time.Millisecond) // the first step changes nothing that could be waited for
			if err := c.sees(ctx, soon, step.want...); err != nil {
				return err
			}
		}

		return nil
	}},
	{Name: "A terminating endpoint is left while others are ready", drive: func(ctx context.Context, s *stage) error {
		return s.change(ctx, []slice{sliceOf("a", at("10.0.0.1", "10.0.0.2")...)},
			[]slice{sliceOf("a", pod{ip: "10.0.0.1"}, pod{ip: "10.0.0.2", condition: terminating})}, "10.0.0.1")
	}},
	{Name: "An endpoint without conditions is ready", drive: func(ctx context.Context, s *stage) error {
		_, err := s.begin(ctx, sliceOf("a", pod{ip: "10.0.0.1", condition: unset}))
		if err == nil && s.resolver.Reads == "endpoints" {
			return notApplicableError("Endpoints have no conditions")
		}

		return err
	}},
	{Name: "With nothing ready, endpoints that terminate and still serve are used", drive: func(ctx context.Context, s *stage) error {
		c, err := s.begin(ctx, sliceOf("a", at("10.0.0.1", "10.0.0.2")...))
		if err != nil {
			return err
		}
		if err := s.service.set(ctx, sliceOf("a", pod{ip: "10.0.0.1", condition: terminating},
			pod{ip: "10.0.0.2", condition: ended}, pod{ip: "10.0.0.3", condition: unready})); err != nil {
			return err
		}
		if err := c.sees(ctx, soon, on("10.0.0.1")...); err != nil {
			return err
		}
		if err := s.service.set(ctx, sliceOf("a", pod{ip: "10.0.0.1", condition: terminating}, pod{ip: "10.0.0.3"})); err != nil {
			return err
		}

		return c.sees(ctx, soon, on("10.0.0.3")...)
	}},
	{Name: "A channel that is made while endpoints only terminate gets those", drive: func(ctx context.Context, s *stage) error {
		if err := s.service.set(ctx, sliceOf("a", pod{ip: "10.0.0.1", condition: terminating})); err != nil {
			return err
		}
		c, err := s.watch()
		if err != nil {
			return err
		}

		return c.sees(ctx, soon, on("10.0.0.1")...)
	}},
	{Name: "With nothing ready and nothing that serves, no endpoint is left", drive: func(ctx context.Context, s *stage) error {
		return s.change(ctx, []slice{sliceOf("a", at("10.0.0.1", "10.0.0.2")...)},
			[]slice{sliceOf("a", pod{ip: "10.0.0.1", condition: ended}, pod{ip: "10.0.0.2", condition: unready})})
	}},
	{Name: "Endpoints say which pod, node and zone they are", drive: func(ctx context.Context, s *stage) error {
		c, err := s.begin(ctx, sliceOf("a", pod{ip: "10.0.0.1", name: "rng-0", node: "node-1", zone: "zone-1"}))
		if err != nil {
			return err
		}
		endpoint := c.latest()[0]
		if s.resolver.InfoOf == nil {
			if endpoint.Attributes == nil && endpoint.Addresses[0].Attributes == nil {
				return errors.New("the endpoints have no attributes")
			}

			return errors.New("the endpoints have attributes, and nobody knows what they are")
		}
		if pod, node, zone := s.resolver.InfoOf(endpoint); pod != "rng-0" || node != "node-1" || zone != "zone-1" {
			return fmt.Errorf("pod %q, node %q, zone %q", pod, node, zone)
		}

		return nil
	}},
	{Name: "The first state is not held back", drive: func(ctx context.Context, s *stage) error {
		if err := s.service.set(ctx, sliceOf("a", at("10.0.0.1")...)); err != nil {
			return err
		}
		c, err := s.open(Settings{Coalesce: time.Minute}, s.targetOf("grpc"))
		if err != nil {
			return err
		}

		return c.sees(ctx, soon, on("10.0.0.1")...)
	}},
	{Name: "50 changes at once are at most 5 updates, the last within 200 ms", drive: func(ctx context.Context, s *stage) error {
		const changes = 50
		c, err := s.begin(ctx, sliceOf("a", at("10.0.0.1")...))
		if err != nil {
			return err
		}
		c.forget()
		if err := s.cluster.AtOnce(func() error {
			var errs []error
			for i := range changes {
				errs = append(errs, s.service.set(ctx, sliceOf("a", many(0, 2+i)...)))
			}

			return errors.Join(errs...)
		}); err != nil {
			return err
		}
		if err := c.sees(ctx, 200*time.Millisecond, on(ipsOf(many(0, 1+changes))...)...); err != nil {
			return err
		}
		if updates := c.updated(); updates > 5 {
			return fmt.Errorf("%d updates", updates)
		}

		return nil
	}},
}

// change begins with slices, writes others, and wants the endpoints at these addresses.
func (s *stage) change(ctx context.Context, from, to []slice, want ...string) error {
	c, err := s.begin(ctx, from...)
	if err != nil {
		return err
	}
	if err := s.service.set(ctx, to...); err != nil {
		return err
	}

	return c.sees(ctx, soon, on(want...)...)
}

// many are ready pods with the addresses from one number to before another.
func many(from, to int) []pod {
	var pods []pod
	for i := from; i < to; i++ {
		pods = append(pods, pod{ip: fmt.Sprintf("10.1.%d.%d", i/250, 1+i%250)})
	}

	return pods
}

func ipsOf(pods []pod) []string {
	ips := make([]string, len(pods))
	for i, p := range pods {
		ips[i] = p.ip
	}

	return ips
}
