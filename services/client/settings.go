package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/alecthomas/kong"

	"github.com/evenkeel/evenkeel/internal/config"
	"github.com/evenkeel/evenkeel/internal/inspect"
	"github.com/evenkeel/evenkeel/internal/telemetry"
	"github.com/evenkeel/evenkeel/services/client/apiwatch"
	"github.com/evenkeel/evenkeel/services/client/channel"
	"github.com/evenkeel/evenkeel/services/client/keys"
	"github.com/evenkeel/evenkeel/services/client/load"
)

// settings are what the flags and the environment say.
type settings struct {
	config.Common
	Strategies `embed:""`

	Run    runCommand    `cmd:"" default:"withargs" help:"Drive the services until told to stop, and report (the default)."`
	Roll   rollCommand   `cmd:"" help:"Ask rng once, and print the answer."`
	Lookup lookupCommand `cmd:"" help:"Ask geoip about addresses, and print the answers."`
	Spread spreadCommand `cmd:"" help:"Open connections to rng, and print how evenly they end on its pods."`
	Pods   podsCommand   `cmd:"" help:"Look at a client that runs, and print which pods its RPCs go to."`
}

// Strategies say how the services are reached, whatever is then done with them.
type Strategies struct {
	RngTarget          string        `placeholder:"URI" help:"Target of rng, such as dns:///rng-headless:8081. Without one rng is not called."`
	RngServiceConfig   string        `placeholder:"JSON" help:"gRPC service config for rng: LB policy, retries. gRPC's own default is pick_first without retries."`
	GeoIPTarget        string        `name:"geoip-target" placeholder:"URI" help:"Target of geoip. Without one geoip is not called."`
	GeoIPServiceConfig string        `name:"geoip-service-config" placeholder:"JSON" help:"gRPC service config for geoip."`
	Timeout            time.Duration `default:"1s" help:"How long an RPC may take, all its attempts together, 1ms to 1m."`

	KeepaliveTime    time.Duration `default:"0s" help:"Ping a server on whose connection nothing has come for this long, 10s to 2h, while RPCs are in flight. 0s is never, as gRPC has it."`
	KeepaliveTimeout time.Duration `default:"20s" help:"With --keepalive-time: give a connection up when a ping, or any data, was not acknowledged for this long, 1s to 2h."`

	Kubernetes apiwatch.Config `embed:""`

	DNSServer                string        `name:"dns-server" placeholder:"HOST:PORT" help:"DNS server to ask instead of the system's."`
	DNSMinResolutionInterval time.Duration `name:"dns-min-resolution-interval" default:"30s" help:"Least time between two look-ups of a name by dns:/// targets; 30s is gRPC's own. It does not make them poll: they look a name up again when a connection breaks."`
}

func (s *Strategies) rng() channel.Strategy {
	return channel.Strategy{Target: s.RngTarget, ServiceConfig: s.RngServiceConfig}
}

func (s *Strategies) geoip() channel.Strategy {
	return channel.Strategy{Target: s.GeoIPTarget, ServiceConfig: s.GeoIPServiceConfig}
}

func (s *Strategies) keepalive() channel.Keepalive {
	return channel.Keepalive{Time: s.KeepaliveTime, Timeout: s.KeepaliveTimeout}
}

func (s *Strategies) dns() channel.DNS {
	return channel.DNS{Server: s.DNSServer, MinResolutionInterval: s.DNSMinResolutionInterval}
}

// Validate names the first flag that cannot be used. kong calls it.
func (s *Strategies) Validate(command *kong.Context) error {
	if err := config.InRange("timeout", s.Timeout, time.Millisecond, time.Minute); err != nil {
		return err
	}
	if s.KeepaliveTime != 0 {
		if err := config.InRange("keepalive-time", s.KeepaliveTime, 10*time.Second, 2*time.Hour); err != nil {
			return err
		}
	}
	if err := config.InRange("keepalive-timeout", s.KeepaliveTimeout, time.Second, 2*time.Hour); err != nil {
		return err
	}
	if err := s.dns().Validate(); err != nil {
		return fmt.Errorf("--dns-server: %w", err)
	}
	for name, strategy := range map[string]channel.Strategy{"rng": s.rng(), "geoip": s.geoip()} {
		if err := s.validate(name, strategy); err != nil {
			return err
		}
	}

	return s.validateFor(command.Selected())
}

// validateFor is an error when the command that was chosen needs a target that was not given.
func (s *Strategies) validateFor(command *kong.Node) error {
	switch {
	case command == nil:
		return nil // kong says that there is no command
	case command.Name == "run" && s.RngTarget == "" && s.GeoIPTarget == "":
		return errors.New("missing --rng-target or --geoip-target or both: give a target such as dns:///localhost:8081")
	case (command.Name == "roll" || command.Name == "spread") && s.RngTarget == "":
		return errors.New("missing --rng-target: give a target such as dns:///localhost:8081")
	case command.Name == "lookup" && s.GeoIPTarget == "":
		return errors.New("missing --geoip-target: give a target such as dns:///localhost:9200")
	default:
		return nil
	}
}

func (s *Strategies) validate(name string, strategy channel.Strategy) error {
	if strategy.Target == "" {
		if strategy.ServiceConfig != "" {
			return fmt.Errorf("--%s-service-config is of no use without --%s-target", name, name)
		}

		return nil
	}
	if err := channel.ValidateTarget(strategy.Target); err != nil {
		return fmt.Errorf("--%s-target: %w", name, err)
	}
	if err := channel.ValidateServiceConfig(strategy.ServiceConfig); err != nil {
		return fmt.Errorf("--%s-service-config: %w", name, err)
	}
	if err := s.Kubernetes.CanResolve(strategy.Target); err != nil {
		return fmt.Errorf("--%s-target: %q: %w", name, strategy.Target, err)
	}

	return nil
}

// apply sets what is global in gRPC, before the first channel is made.
func (s *Strategies) apply() error {
	s.dns().Apply()

	return s.Kubernetes.Register()
}

// runCommand drives the services.
type runCommand struct {
	Rate           float64       `default:"100" help:"RPCs begun in a second for each service, evenly spaced, whether or not earlier ones have ended; up to 100000. 0 calls back to back instead."`
	RngRate        *float64      `placeholder:"RATE" help:"--rate for rng."`
	GeoIPRate      *float64      `name:"geoip-rate" placeholder:"RATE" help:"--rate for geoip."`
	Concurrency    int           `default:"64" help:"With a rate of 0: RPCs of each service in flight, 1 to 10000."`
	MaxInFlight    int           `default:"10000" help:"With a rate: most RPCs of a service in flight, 1 to 1000000. One more is not sent, and counted as failed."`
	GeoIPAddresses []string      `name:"geoip-addresses" default:"${addresses}" help:"Addresses that geoip is asked about, in turn. The defaults are well-known public resolvers."`
	Keys           keys.Config   `embed:""`
	Frame          time.Duration `default:"100ms" help:"Length of a frame of /events, 10ms to 10s."`
	Duration       time.Duration `default:"0s" help:"Stop after this long. 0s means at a signal."`

	BindAddress string `placeholder:"IP" help:"Address to listen on. All of them by default."`
	Port        *int   `placeholder:"PORT" help:"Port for gRPC: the front door, whereami.v1.WhereamiService. 0 takes a free one. Without it there is the one by HTTP alone."`
	AdminPort   int    `default:"8080" help:"Port for HTTP: the page, /live, /control, /report, /events, /api/whereami, /metrics, /livez, /readyz. 0 takes a free one."`
	Controls    bool   `default:"true" negatable:"" help:"Let the page change the load while it runs. Whoever reaches the port can."`

	PodName  string `placeholder:"NAME" help:"Name of this pod in logs and traces. The host's name by default."`
	NodeName string `placeholder:"NAME" help:"Node that this pod runs on, for traces."`

	Inspect inspect.Config `embed:""`

	LoadSampleRatio float64          `default:"0.01" help:"Part of the RPCs of the load that begin a trace, 0 to 1, of those that --otel-traces-sampler has recorded. Requests to the front door follow the sampler alone."`
	Telemetry       telemetry.Config `embed:""`
}

func (r *runCommand) rngRate() float64   { return or(r.RngRate, r.Rate) }
func (r *runCommand) geoipRate() float64 { return or(r.GeoIPRate, r.Rate) }

func or[N any](given *N, otherwise N) N {
	if given != nil {
		return *given
	}

	return otherwise
}

// Validate names the first flag that cannot be used. kong calls it.
func (r *runCommand) Validate() error {
	for _, rate := range []struct {
		flag  string
		value float64
	}{{"rate", r.Rate}, {"rng-rate", r.rngRate()}, {"geoip-rate", r.geoipRate()}} {
		if err := load.CheckRate(rate.value); err != nil {
			return fmt.Errorf("--%s: %w", rate.flag, err)
		}
	}
	for _, address := range r.GeoIPAddresses {
		if a, err := netip.ParseAddr(address); err != nil || a.Zone() != "" {
			return fmt.Errorf("--geoip-addresses: %q is not an IP address: give IPv4 or IPv6 addresses with commas between", address)
		}
	}
	if r.BindAddress != "" {
		if _, err := netip.ParseAddr(r.BindAddress); err != nil {
			return fmt.Errorf("--bind-address: %q is not an IP address", r.BindAddress)
		}
	}
	port := or(r.Port, 0)
	if port != 0 && port == r.AdminPort {
		return fmt.Errorf("--admin-port: %d is the gRPC port too: give each its own", port)
	}
	if p := r.Inspect.Port; p != 0 && (p == port || p == r.AdminPort) {
		return fmt.Errorf("--inspect-port: %d is another port of this process: give each its own", p)
	}

	return cmp.Or(
		config.InRange("concurrency", r.Concurrency, 1, load.MaxConcurrency),
		config.InRange("max-in-flight", r.MaxInFlight, 1, 1_000_000),
		config.InRange("frame", r.Frame, 10*time.Millisecond, 10*time.Second),
		config.InRange("port", port, 0, 65535),
		config.InRange("admin-port", r.AdminPort, 0, 65535),
		config.InRange("load-sample-ratio", r.LoadSampleRatio, 0, 1),
	)
}
