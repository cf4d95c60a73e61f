package endpointslice

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc/resolver"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
)

// DefaultCoalesce is how long, after a change was published, later ones are put together.
const DefaultCoalesce = 50 * time.Millisecond

// Config says whom to ask, and how. Its zero value is right for a program that runs in a pod.
type Config struct {
	// REST is for the API server; nil is the in-cluster configuration, which is looked for when a target is first built.
	REST *rest.Config
	// Namespace is for targets that name none; "" is the pod's own, or "default" outside a pod.
	Namespace string
	// Zone is where the client runs, for targets with ?zone=prefer, which are an error if it is "". It is usually the
	// label topology.kubernetes.io/zone of the node, which a pod can have in its environment (KEP-4742).
	Zone string
	// Coalesce is how long after a change was published later ones wait to be put together. 0 is DefaultCoalesce; with
	// a negative one, none waits.
	Coalesce time.Duration
	// Clock is for tests; nil is the real one.
	Clock clock.WithTicker
	// Logger is for what goes wrong; nil is slog.Default().
	Logger *slog.Logger
}

// NewBuilder makes a builder of resolvers, for resolver.Register or grpc.WithResolvers. Its channels to the same Service
// share one watch. Builders share nothing.
func NewBuilder(config Config) resolver.Builder {
	if config.Namespace == "" {
		config.Namespace = podNamespace()
	}
	if config.Coalesce == 0 {
		config.Coalesce = DefaultCoalesce
	}
	if config.Clock == nil {
		config.Clock = clock.RealClock{}
	}
	return &builder{config: config, services: map[serviceKey]*service{}}
}

func init() { resolver.Register(NewBuilder(Config{})) }

type builder struct {
	config Config

	mu       sync.Mutex
	client   *rest.RESTClient // nil until a target is built
	services map[serviceKey]*service
}

type serviceKey struct{ namespace, name string }

// Scheme is [Scheme].
func (b *builder) Scheme() string { return Scheme }

// OverrideAuthority gives a channel the authority SERVICE.NAMESPACE.svc, with the DOMAIN of the target if it has one.
// grpc.WithAuthority goes before it.
func (b *builder) OverrideAuthority(target resolver.Target) string {
	t, err := b.parse(target)
	if err != nil {
		return Scheme // Build tells about it
	}
	return t.authority()
}

func (b *builder) parse(target resolver.Target) (Target, error) {
	t, err := ParseTarget(target.URL)
	t.Namespace = cmp.Or(t.Namespace, b.config.Namespace)
	return t, err
}

// Build begins to watch the Service of a target, unless another channel does already.
func (b *builder) Build(target resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	t, err := b.parse(target)
	if err != nil {
		return nil, err
	}
	if t.PreferZone && b.config.Zone == "" {
		return nil, errors.New("endpointslice: zone=prefer in the target: the zone that the client runs in is not known: set Config.Zone")
	}
	s, err := b.join(serviceKey{namespace: t.Namespace, name: t.Service})
	if err != nil {
		return nil, fmt.Errorf("endpointslice: %w", err)
	}
	c := &channel{
		cc: cc, service: s, view: view{target: t, zone: b.config.Zone},
		coalesce: b.config.Coalesce, clock: b.config.Clock, logger: s.logger,
	}
	c.release = func() { b.leave(s) }
	c.start()
	return c, nil
}

// join counts a channel in, and begins the watch for the first one.
func (b *builder) join(key serviceKey) (*service, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	logger := b.config.Logger
	if logger == nil {
		logger = slog.Default() // of now: programs set it after this package has registered itself
	}
	if b.client == nil {
		config := b.config.REST
		if config == nil {
			found, err := inCluster()
			if err != nil {
				return nil, err
			}
			config = found
		}
		client, err := newClient(config, logger)
		if err != nil {
			return nil, err
		}
		b.client = client
	}
	s := b.services[key]
	if s == nil {
		s = startService(b.client, key.namespace, key.name, b.config.Clock, logger)
		b.services[key] = s
	}
	s.users++
	return s, nil
}

// leave counts a channel out, and waits for the end of the watch after the last one.
func (b *builder) leave(s *service) {
	b.mu.Lock()
	s.users--
	last := s.users == 0
	if last {
		delete(b.services, serviceKey{namespace: s.namespace, name: s.name})
	}
	idle := len(b.services) == 0
	b.mu.Unlock()
	if !last {
		return
	}
	s.stop()
	if idle {
		utilnet.CloseIdleConnectionsFor(transportOf(b.client))
	}
}

func transportOf(client *rest.RESTClient) http.RoundTripper {
	if client.Client == nil || client.Client.Transport == nil {
		return http.DefaultTransport
	}
	return client.Client.Transport
}
