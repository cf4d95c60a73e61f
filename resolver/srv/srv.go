package srv

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/resolver"
)

// Scheme is that of the targets, as in srv:///rng-headless:grpc.
const Scheme = "srv"

// Defaults of Config.
const (
	DefaultResolvConf = "/etc/resolv.conf"
	DefaultMinTTL     = 5 * time.Second
	DefaultMaxTTL     = 5 * time.Minute
	DefaultTimeout    = 30 * time.Second
)

// Config is how names are looked up. Its zero value is what init registers.
type Config struct {
	// Server is the host:port that is asked instead of the name servers of resolv.conf.
	// The rest of that file counts all the same, if there is one.
	Server string
	// ResolvConf is the file that names the name servers, the search list and the options
	// ndots, timeout, attempts and rotate; see resolv.conf(5). It is read for each
	// look-up. "" is DefaultResolvConf.
	ResolvConf string
	// MinTTL is the least time between an answer and the look-up after it, also when a
	// connection has broken. Only while there is no answer, or an empty one, look-ups may
	// follow each other faster. 0 is DefaultMinTTL.
	MinTTL time.Duration
	// MaxTTL is the longest that an answer is taken for good, whatever its TTL says, empty
	// ones included. 0 is DefaultMaxTTL, or MinTTL if that is longer.
	MaxTTL time.Duration
	// Timeout bounds one look-up: all questions to all servers. How long one server has for
	// one answer is said by resolv.conf (5 s if it does not). 0 is DefaultTimeout.
	Timeout time.Duration
	// Logger is told of failures and of the first answer after one. nil is slog.Default().
	Logger *slog.Logger
}

func init() { resolver.Register(NewBuilder(Config{})) }

// NewBuilder makes a resolver.Builder for the scheme srv. Give it to resolver.Register
// before the first channel is made, or to one channel by grpc.WithResolvers.
//
// What is wrong with the config is an error of each channel that uses it.
func NewBuilder(config Config) resolver.Builder {
	return &builder{config: config, exchange: exchangeOverNetwork, random: rand.Float64}
}

type builder struct {
	config   Config
	exchange exchange
	random   func() float64 // in [0, 1)
}

// Scheme is that of the targets for which the builder is.
func (*builder) Scheme() string { return Scheme }

// OverrideAuthority makes the target's name the authority of the channel, without the
// port's name: that would not be a valid one (RFC 3986, section 3.2.3).
//
// It is also the name that TLS expects the servers to prove. The names that DNS answers
// are not fit for that: who can forge an answer could name a server of their own
// (RFC 9525, section 6.1).
func (*builder) OverrideAuthority(target resolver.Target) string {
	t, err := ParseTarget(target.URL)
	if err != nil {
		// Build says what is wrong.
		return target.Endpoint()
	}

	return strings.TrimSuffix(t.Name, ".")
}

// Build starts to look the target up.
func (b *builder) Build(target resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	t, err := ParseTarget(target.URL)
	if err != nil {
		return nil, err
	}
	config, err := b.config.complete()
	if err != nil {
		return nil, fmt.Errorf("srv: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &srvResolver{
		target: t, config: config, exchange: b.exchange, random: b.random, cc: cc, cancel: cancel,
		logger: config.Logger.With(slog.String("target", t.String())),
		now:    make(chan struct{}, 1),
	}
	registry.add(r)
	r.running.Go(func() { r.run(ctx) })

	return r, nil
}

// complete puts the defaults in.
func (c Config) complete() (Config, error) {
	for _, each := range []struct {
		name  string
		value *time.Duration
		unset time.Duration
	}{
		{"MinTTL", &c.MinTTL, DefaultMinTTL},
		{"MaxTTL", &c.MaxTTL, max(DefaultMaxTTL, c.MinTTL)},
		{"Timeout", &c.Timeout, DefaultTimeout},
	} {
		switch {
		case *each.value < 0:
			return Config{}, fmt.Errorf("config: %s %s: want 0 for the default, or more", each.name, *each.value)
		case *each.value == 0:
			*each.value = each.unset
		}
	}
	if c.MaxTTL < c.MinTTL {
		return Config{}, fmt.Errorf("config: MaxTTL %s: want at least MinTTL, which is %s", c.MaxTTL, c.MinTTL)
	}
	if c.Server != "" {
		host, port, err := net.SplitHostPort(c.Server)
		number, badPort := strconv.ParseUint(port, 10, 16)
		if err != nil || badPort != nil || host == "" || number == 0 {
			return Config{}, fmt.Errorf("config: Server %q: want a host and a port, as in 10.96.0.10:53", c.Server)
		}
	}
	if c.ResolvConf == "" {
		c.ResolvConf = DefaultResolvConf
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}

	return c, nil
}
