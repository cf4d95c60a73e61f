package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	_ "google.golang.org/grpc/xds" // CSDS on the inspect port

	"github.com/evenkeel/evenkeel/internal/admin"
	"github.com/evenkeel/evenkeel/internal/config"
	"github.com/evenkeel/evenkeel/internal/inspect"
	"github.com/evenkeel/evenkeel/internal/interrupt"
	"github.com/evenkeel/evenkeel/internal/telemetry"
	geoipv1 "github.com/evenkeel/evenkeel/proto/geoip/v1"
	rngv1 "github.com/evenkeel/evenkeel/proto/rng/v1"
	"github.com/evenkeel/evenkeel/services/client/channel"
	"github.com/evenkeel/evenkeel/services/client/keys"
	"github.com/evenkeel/evenkeel/services/client/live"
	"github.com/evenkeel/evenkeel/services/client/load"
	"github.com/evenkeel/evenkeel/services/client/status"
	"github.com/evenkeel/evenkeel/services/client/whereami"
)

// closeTimeout is how long requests to the ports may take once the load has ended, and
// then the last telemetry.
const closeTimeout = 3 * time.Second

// Run drives the services until SIGTERM, SIGINT or the end of --duration, then waits
// for the RPCs in flight and prints a summary. kong calls it.
func (r *runCommand) Run(s *Strategies) error {
	ctx, stop := interrupt.Context(context.Background())
	defer stop()
	if r.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.Duration)
		defer cancel()
	}
	if err := s.apply(); err != nil {
		return err
	}
	r.Telemetry.Traces.LoadRatio = r.LoadSampleRatio
	t, err := telemetry.Start(ctx, r.identity(s.Kubernetes.Zone), r.Telemetry, os.Stderr)
	if err != nil {
		return err
	}
	slog.SetDefault(t.Logger) // what the resolvers log to
	c := &client{
		telemetry: t, subchannels: channel.NewSubchannels(t.Registry), feed: load.NewFeed(), live: live.NewHub(), keys: keys.NewSet(r.Keys),
	}
	defer c.close()
	if err := c.connect(r, s); err != nil {
		return err
	}
	c.door.Timeout = s.Timeout
	if err := c.openDoor(r); err != nil {
		return err
	}
	if err := c.serve(r); err != nil {
		return err
	}
	c.drive(ctx)

	return status.PrintSummary(os.Stdout, status.NewReport(c.services))
}

func (r *runCommand) identity(zone string) telemetry.Identity {
	return telemetry.Identity{Service: "client", Version: config.Version(), Pod: r.podName(), Node: r.NodeName, Zone: zone}
}

func (r *runCommand) podName() string {
	if r.PodName != "" {
		return r.PodName
	}
	// A host without a name drives as well as any other.
	host, _ := os.Hostname()

	return host
}

func (r *runCommand) address(port int) string {
	return net.JoinHostPort(r.BindAddress, strconv.Itoa(port))
}

// client is a process that drives services.
type client struct {
	telemetry   *telemetry.Telemetry
	subchannels *channel.Subchannels
	feed        *load.Feed
	live        *live.Hub
	keys        *keys.Set
	services    []status.Service
	door        whereami.Door
	conns       []*grpc.ClientConn
	admin       *admin.Server
	grpc        *whereami.Server
	serving     sync.WaitGroup
	adminErr    error
	inspect     *inspect.Server
}

// connect makes a channel and a generator for each service that has a target.
func (c *client) connect(r *runCommand, s *Strategies) error {
	if s.RngTarget != "" {
		conn, err := c.add("rng", s.rng(), r, r.rngRate(), s, callRng)
		if err != nil {
			return fmt.Errorf("--rng-target: %w", err)
		}
		c.door.Rng = conn
	}
	if s.GeoIPTarget != "" {
		conn, err := c.add("geoip", s.geoip(), r, r.geoipRate(), s, callGeoIP(r.GeoIPAddresses))
		if err != nil {
			return fmt.Errorf("--geoip-target: %w", err)
		}
		c.door.GeoIP = conn
	}

	return nil
}

// caller makes the RPCs of a service on its channel. What it returns besides sets how many values an
// RPC asks for; nil if that cannot be set.
type caller func(grpc.ClientConnInterface) (call func(context.Context) error, setPayload func(int))

func (c *client) add(
	name string, strategy channel.Strategy, r *runCommand, rate float64, s *Strategies, call caller,
) (*grpc.ClientConn, error) {
	recorder := load.NewRecorder(name, r.Frame, c.feed)
	watched := c.live.Watch(name, strategy.Target)
	recorder.OnConnection(watched.Connection)
	options := []grpc.DialOption{
		s.keepalive().DialOption(),
		watched.DialOption(),
		grpc.WithStatsHandler(c.subchannels.Around(recorder.StatsHandler(), watched.Ended)),
	}
	if c.telemetry.Traced() {
		options = append(options, channel.Annotate(strategy, c.telemetry.DialOption())...)
	}
	conn, err := channel.New(strategy, options...)
	if err != nil {
		return nil, err
	}
	c.conns = append(c.conns, conn)
	generator := &load.Generator{
		Keys: c.keys, Recorder: recorder, Rate: rate,
		Concurrency: r.Concurrency, MaxInFlight: r.MaxInFlight, Timeout: s.Timeout,
	}
	if generator.Call, generator.SetPayload = call(conn); generator.SetPayload != nil {
		generator.Payload = 1
	}
	service := status.Service{Name: name, Target: strategy.Target, ServiceConfig: strategy.ServiceConfig, Generator: generator}
	c.services = append(c.services, service)
	watched.Driven(service)

	return conn, nil
}

func callRng(conn grpc.ClientConnInterface) (call func(context.Context) error, setPayload func(int)) {
	rng := rngv1.NewRngServiceClient(conn)
	var request atomic.Pointer[rngv1.RollRequest]
	request.Store(&rngv1.RollRequest{Count: 1})

	return func(ctx context.Context) error {
		_, err := rng.Roll(ctx, request.Load())

		return err
	}, func(values int) { request.Store(&rngv1.RollRequest{Count: uint32(values)}) }
}

// callGeoIP asks about the addresses in turn.
func callGeoIP(addresses []string) caller {
	return func(conn grpc.ClientConnInterface) (call func(context.Context) error, setPayload func(int)) {
		geoip := geoipv1.NewGeoipServiceClient(conn)
		requests := make([]*geoipv1.LookupRequest, len(addresses))
		for i, address := range addresses {
			requests[i] = &geoipv1.LookupRequest{Address: address}
		}
		var turn atomic.Uint64

		return func(ctx context.Context) error {
			_, err := geoip.Lookup(ctx, requests[turn.Add(1)%uint64(len(requests))])

			return err
		}, nil
	}
}

// serve opens the admin port. The channels are there, so the client is ready: that
// there are backends too is what it measures.
func (c *client) serve(r *runCommand) error {
	c.telemetry.Registry.MustRegister(append(channel.Collectors(), status.NewMetrics(c.services))...)
	server, err := admin.Listen(r.address(r.AdminPort), c.telemetry.Registry, c.telemetry.Logger)
	if err != nil {
		return err
	}
	server.Handle("GET /{$}", c.live.ServePage(r.Controls))
	server.Handle("GET /live", c.live.ServeStream())
	if r.Controls {
		server.Handle("POST /control", c.live.ServeControl(r.Keys))
	}
	server.Handle("GET /report", status.ServeReport(c.services))
	server.Handle("GET /events", status.ServeEvents(c.feed))
	server.Handle("GET /api/whereami", c.door.Traced(c.telemetry.Tracer))
	server.SetReady(true)
	c.admin = server
	c.serving.Go(func() { c.live.Run(c.feed) })
	c.serving.Go(func() { c.adminErr = server.Serve() })
	if c.inspect, err = inspect.Listen(r.Inspect, c.telemetry.Logger); err != nil {
		return err
	}
	c.inspect.Start()

	return nil
}

// openDoor opens the port of the front door over gRPC, if there is to be one.
func (c *client) openDoor(r *runCommand) error {
	if r.Port == nil {
		return nil
	}
	server, err := whereami.Listen(r.address(*r.Port), c.door, r.podName(), c.telemetry.Logger, c.telemetry.ServerOptions()...)
	if err != nil {
		return err
	}
	server.Start()
	c.grpc = server

	return nil
}

// drive runs the generators until ctx is done and every RPC has ended.
func (c *client) drive(ctx context.Context) {
	var generators, recorders sync.WaitGroup
	recording, stopRecording := context.WithCancel(context.Background())
	for _, s := range c.services {
		c.telemetry.Logger.Info("driving", "target", s.Target, "serviceConfig", s.ServiceConfig,
			"load", s.Generator.String(), "keys", s.Generator.Keys.String(), "calls", s.Name, "adminAddress", c.admin.Addr().String())
		s.Generator.TuneGC()
		recorders.Go(func() { s.Generator.Recorder.Run(recording) })
		generators.Go(func() { s.Generator.Run(ctx) })
	}
	generators.Wait()
	stopRecording()
	recorders.Wait()
	c.telemetry.Logger.Info("stopped", "cause", context.Cause(ctx).Error())
}

// close ends what is open, the streams of frames first, for the admin port waits for them. The channels end when
// nobody is left at the front door.
func (c *client) close() {
	ending, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	c.feed.Close()
	var err error
	if c.admin != nil {
		c.admin.SetReady(false)
		err = c.admin.Shutdown(ending)
		c.serving.Wait()
		err = errors.Join(err, c.adminErr)
	}
	c.grpc.Shutdown(ending)
	for _, conn := range c.conns {
		err = errors.Join(err, conn.Close())
	}
	c.inspect.Close()
	flushing, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := errors.Join(err, c.telemetry.Shutdown(flushing)); err != nil {
		// The load was driven and reported; that does not change it.
		c.telemetry.Logger.Warn("not all was closed as it should be", "error", err)
	}
}
