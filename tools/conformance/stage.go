package conformance

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	"google.golang.org/grpc/resolver"
)

// How long a behaviour waits for what must come.
const (
	soon     = 2 * time.Second  // after a change, with nothing wrong
	recovery = 90 * time.Second // after a fault has ended: backoff takes its time, and client-go keeps a token for a minute
)

// The names that every run uses, in a namespace of its own.
const (
	serviceName    = "rng"
	serviceAccount = "client"
)

// stage is where a behaviour plays: a cluster with one Service, a client that may read what it needs, and all the
// channels that were opened.
type stage struct {
	cluster  Cluster
	service  *service
	resolver Resolver
	requests *requests
	builders map[Settings]resolver.Builder

	tokenFile string
	token     string
	channels  []*channel
}

// Settings are what a behaviour asks of a resolver's builder. A resolver that has no such setting ignores it.
type Settings struct {
	Zone     string        // that the client is in
	Coalesce time.Duration // 0: the resolver's default
}

// newStage prepares the cluster. The folder is for the file with the client's token.
func newStage(ctx context.Context, r Resolver, cluster Cluster, folder string) (*stage, error) {
	s := &stage{
		cluster:   cluster,
		service:   &service{cluster: cluster, namespace: cluster.Namespace(), name: serviceName, slices: map[string]slice{}},
		resolver:  r,
		requests:  &requests{},
		builders:  map[Settings]resolver.Builder{},
		tokenFile: filepath.Join(folder, "token"),
	}
	if err := s.renewToken(ctx); err != nil {
		return nil, err
	}

	return s, s.permit(ctx)
}

// limit is how long a behaviour waits here where it says so long.
func (s *stage) limit(said time.Duration) time.Duration { return stretched(said, s.cluster.Slack()) }

// builder returns the one builder for these settings.
func (s *stage) builder(settings Settings) (resolver.Builder, error) {
	if made, ok := s.builders[settings]; ok {
		return made, nil
	}
	config := s.cluster.REST()
	access := *config
	access.BearerTokenFile = s.tokenFile
	access.Wrap(s.requests.through)
	made, err := s.resolver.NewBuilder(&access, settings)
	if err != nil {
		return nil, fmt.Errorf("make a builder: %w", err)
	}
	s.builders[settings] = made

	return made, nil
}

// open makes a resolver for a target, as grpc.NewClient does for a channel. Only what follows the scheme is given, such
// as "/rng.ns:grpc".
func (s *stage) open(settings Settings, target string) (*channel, error) {
	builder, err := s.builder(settings)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(s.resolver.Scheme + "://" + target)
	if err != nil {
		return nil, fmt.Errorf("read the target: %w", err)
	}
	c := newChannel(s.cluster.Slack())
	if c.resolver, err = builder.Build(resolver.Target{URL: *u}, c, resolver.BuildOptions{}); err != nil {
		return nil, fmt.Errorf("make a resolver: %w", err)
	}
	s.channels = append(s.channels, c)

	return c, nil
}

// targetOf is the target of the Service, by a port.
func (s *stage) targetOf(port string) string {
	target := "/" + s.service.name + "." + s.service.namespace
	if port != "" {
		target += ":" + port
	}

	return target
}

// watch opens a channel to the port "grpc" of the Service.
func (s *stage) watch() (*channel, error) { return s.open(Settings{}, s.targetOf("grpc")) }

// begin writes slices and opens a channel, which must see the endpoints on the usual port.
func (s *stage) begin(ctx context.Context, slices ...slice) (*channel, error) {
	if err := s.service.set(ctx, slices...); err != nil {
		return nil, err
	}
	c, err := s.watch()
	if err != nil {
		return nil, err
	}
	var ips []string
	for _, each := range slices {
		for _, p := range each.pods {
			ips = append(ips, p.ip)
		}
	}
	if err := c.sees(ctx, soon, on(ips...)...); err != nil {
		return nil, fmt.Errorf("at the beginning: %w", err)
	}

	return c, nil
}

// on gives addresses the usual port.
func on(ips ...string) []string {
	addresses := make([]string, len(ips))
	for i, ip := range ips {
		addresses[i] = ip + ":8081"
	}

	return addresses
}

// endWatches ends the watches in good order.
func (s *stage) endWatches(ctx context.Context) error {
	return s.requests.end(ctx, s.limit(soon), func() error {
		s.cluster.CloseWatches()

		return nil
	})
}

// outage takes the API away, or brings it back.
func (s *stage) outage(ctx context.Context, outage Outage) error {
	if outage == Up { // which ends nothing
		return s.cluster.SetOutage(outage)
	}

	return s.requests.end(ctx, s.limit(soon), func() error { return s.cluster.SetOutage(outage) })
}

// pass lets time go by.
func pass(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// close closes a channel's resolver, once.
func (c *channel) close(ctx context.Context) error {
	if c.resolver == nil {
		return nil
	}
	closing, done := c.resolver, make(chan struct{})
	c.resolver = nil
	go func() { // nobody can wait for one that hangs, and that is what is found here
		defer close(done)
		closing.Close()
	}()
	limit := time.NewTimer(soon)
	defer limit.Stop()
	select {
	case <-done:
	case <-limit.C:
		return fmt.Errorf("Close took more than %v s", soon.Seconds())
	case <-ctx.Done():
		return ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true

	return nil
}

// end closes what a behaviour left open.
//
// It waits a moment first. kuberesolver adds to the WaitGroup that its Close waits for in the goroutine that then makes a
// request: without that, and without asking for the count, the race detector may report the two.
func (s *stage) end(ctx context.Context) error {
	pass(ctx, time.Millisecond)
	_ = s.requests.count()
	var errs []error
	for _, c := range s.channels {
		errs = append(errs, c.close(ctx))
	}

	return errors.Join(errs...)
}
