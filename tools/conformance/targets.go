package conformance

import (
	"context"
	"fmt"
)

// What a target means, above all its port.
var targetBehaviours = []Behaviour{
	{Name: "A port is found by its name", drive: func(ctx context.Context, s *stage) error {
		return s.opens(ctx, "http-admin", sliceOf("a", at("10.0.0.1")...), "10.0.0.1:8080")
	}},
	{Name: "A port is found by its number", drive: func(ctx context.Context, s *stage) error {
		return s.opens(ctx, "8080", sliceOf("a", at("10.0.0.1")...), "10.0.0.1:8080")
	}},
	{Name: "A target without a port gets the only one", drive: func(ctx context.Context, s *stage) error {
		return s.opens(ctx, "", slice{name: "a", pods: at("10.0.0.1"), ports: []port{{"grpc", 9090}}}, "10.0.0.1:9090")
	}},
	{Name: "A target without a port, and several: an error lists them", drive: func(ctx context.Context, s *stage) error {
		return s.refuses(ctx, "", sliceOf("a", at("10.0.0.1")...), "grpc", "http-admin")
	}},
	{Name: "An unknown port name: an error lists the ports", drive: func(ctx context.Context, s *stage) error {
		return s.refuses(ctx, "metrics", sliceOf("a", at("10.0.0.1")...), "metrics", "grpc", "http-admin")
	}},
	{Name: "An unknown port number: an error lists the ports", drive: func(ctx context.Context, s *stage) error {
		return s.refuses(ctx, "9999", sliceOf("a", at("10.0.0.1")...), "9999", "grpc|8081", "http-admin|8080")
	}},
	{Name: "Endpoints without any port: an error says so", drive: func(ctx context.Context, s *stage) error {
		return s.refuses(ctx, "grpc", slice{name: "a", pods: at("10.0.0.1"), bare: true}, "grpc", "port")
	}},
	{Name: "When a port's number changes, its name still finds it", drive: func(ctx context.Context, s *stage) error {
		c, err := s.begin(ctx, sliceOf("a", at("10.0.0.1")...))
		if err != nil {
			return err
		}
		if err := s.service.set(ctx, slice{name: "a", pods: at("10.0.0.1"), ports: []port{{"grpc", 9090}, {"http-admin", 8080}}}); err != nil {
			return err
		}

		return c.sees(ctx, soon, "10.0.0.1:9090")
	}},
	{Name: "When a port is renamed pod by pod, those that have it are used", drive: func(ctx context.Context, s *stage) error {
		renamed := []port{{"rpc", 8081}, {"http-admin", 8080}}
		c, err := s.begin(ctx, sliceOf("a", at("10.0.0.1", "10.0.0.2")...))
		if err != nil {
			return err
		}
		if err := s.service.set(ctx, sliceOf("a", at("10.0.0.1")...), slice{name: "b", pods: at("10.0.0.3"), ports: renamed}); err != nil {
			return err
		}

		return c.sees(ctx, soon, on("10.0.0.1")...)
	}},
	{Name: "When a port is renamed everywhere, an error lists the ports; when it is back, it is used", drive: func(ctx context.Context, s *stage) error {
		c, err := s.begin(ctx, sliceOf("a", at("10.0.0.1")...))
		if err != nil {
			return err
		}
		if err := s.service.set(ctx, slice{name: "a", pods: at("10.0.0.1"), ports: []port{{"rpc", 8081}, {"http-admin", 8080}}}); err != nil {
			return err
		}
		if err := c.hears(ctx, soon, "grpc", "rpc", "http-admin"); err != nil {
			return err
		}
		if err := s.service.set(ctx, sliceOf("a", at("10.0.0.1", "10.0.0.2")...)); err != nil {
			return err
		}

		return c.sees(ctx, soon, on("10.0.0.1", "10.0.0.2")...)
	}},
	{Name: "A Service is found by each of its names", drive: func(ctx context.Context, s *stage) error {
		if err := s.service.set(ctx, sliceOf("a", at("10.0.0.1")...)); err != nil {
			return err
		}
		name, namespace := s.service.name, s.service.namespace
		for _, target := range []string{
			"/" + name + "." + namespace + ":grpc", "/" + name + "." + namespace + ".svc:grpc",
			"/" + name + "." + namespace + ".svc.cluster.local:grpc", namespace + "/" + name + ":grpc",
		} {
			c, err := s.open(Settings{}, target)
			if err != nil {
				return err
			}
			if err := c.sees(ctx, soon, on("10.0.0.1")...); err != nil {
				return fmt.Errorf("%s://%s: %w", s.resolver.Scheme, target, err)
			}
		}

		return nil
	}},
	{Name: "A target without a Service is refused when the channel is made", drive: func(ctx context.Context, s *stage) error {
		if _, err := s.begin(ctx, sliceOf("a", at("10.0.0.1")...)); err != nil {
			return err // so that a resolver that refuses everything does not pass
		}
		if _, err := s.open(Settings{}, "/:grpc"); err == nil {
			return fmt.Errorf("%s:///:grpc is accepted", s.resolver.Scheme)
		}

		return nil
	}},
}

// opens opens a channel to a port, and wants one address.
func (s *stage) opens(ctx context.Context, port string, slice slice, want string) error {
	if err := s.service.set(ctx, slice); err != nil {
		return err
	}
	c, err := s.open(Settings{}, s.targetOf(port))
	if err != nil {
		return err
	}

	return c.sees(ctx, soon, want)
}

// refuses opens a channel to a port, and wants an error and no endpoint.
func (s *stage) refuses(ctx context.Context, port string, slice slice, parts ...string) error {
	if err := s.service.set(ctx, slice); err != nil {
		return err
	}
	c, err := s.open(Settings{}, s.targetOf(port))
	if err != nil {
		return err
	}
	if err := c.hears(ctx, soon, parts...); err != nil {
		return err
	}

	return c.keeps(ctx, soon)
}
