package conformance

import (
	"context"
	"errors"
	"fmt"
)

// What ?zone=prefer does.
var zoneBehaviours = []Behaviour{
	{Name: "zone=prefer: endpoints in the client's zone are used while there are enough", drive: func(ctx context.Context, s *stage) error {
		c, err := s.inZone(ctx, "", zoned("zone-1", 0, 3), zoned("zone-2", 3, 6))
		if err != nil {
			return err
		}

		return c.sees(ctx, soon, on(ipsOf(many(0, 3))...)...)
	}},
	{Name: "zone=prefer: with too few ready there, the rest are used too", drive: func(ctx context.Context, s *stage) error {
		c, err := s.inZone(ctx, "&zoneMinimum=2", zoned("zone-1", 0, 2), zoned("zone-2", 2, 4))
		if err != nil {
			return err
		}
		if err := c.sees(ctx, soon, on(ipsOf(many(0, 2))...)...); err != nil {
			return err
		}
		local := zoned("zone-1", 0, 2)
		local[1].condition = unready
		if err := s.service.set(ctx, sliceOf("a", local...)); err != nil {
			return err
		}
		rest := append(many(0, 1), many(2, 4)...)

		return c.sees(ctx, soon, on(ipsOf(rest)...)...)
	}},
	{Name: "zone=prefer: with none there, the rest are used", drive: func(ctx context.Context, s *stage) error {
		c, err := s.inZone(ctx, "", nil, zoned("zone-2", 2, 4))
		if err != nil {
			return err
		}

		return c.sees(ctx, soon, on(ipsOf(many(2, 4))...)...)
	}},
	{Name: "zone=prefer: endpoints that are hinted for the client's zone are in it", drive: func(ctx context.Context, s *stage) error {
		hinted := zoned("zone-2", 0, 4)
		for i, zone := range []string{"zone-1", "zone-1", "zone-2", "zone-2"} {
			hinted[i].hints = []string{zone}
		}
		c, err := s.inZone(ctx, "", nil, hinted)
		if err != nil {
			return err
		}

		return c.sees(ctx, soon, on(ipsOf(many(0, 2))...)...)
	}},
	{Name: "zone=prefer without knowing the zone is refused when the channel is made", drive: func(ctx context.Context, s *stage) error {
		if s.resolver.Zones == "" {
			return notApplicableError("it has no such option")
		}
		if _, err := s.begin(ctx, sliceOf("a", at("10.0.0.1")...)); err != nil {
			return err
		}
		target := s.targetOf("grpc") + s.resolver.Zones
		if _, err := s.open(Settings{}, target); err == nil {
			return fmt.Errorf("%s://%s is accepted", s.resolver.Scheme, target)
		}

		return nil
	}},
}

var errNoZones = errors.New("it has no such option, and Endpoints hold no zones")

// inZone opens a channel of a client in zone-1.
func (s *stage) inZone(ctx context.Context, query string, here, there []pod) (*channel, error) {
	if s.resolver.Zones == "" {
		return nil, errNoZones
	}
	if err := s.service.set(ctx, sliceOf("a", here...), sliceOf("b", there...)); err != nil {
		return nil, err
	}

	return s.open(Settings{Zone: "zone-1"}, s.targetOf("grpc")+s.resolver.Zones+query)
}

// zoned are pods in a zone.
func zoned(zone string, from, to int) []pod {
	pods := many(from, to)
	for i := range pods {
		pods[i].zone = zone
	}

	return pods
}
