package channel

import (
	"context"
	"encoding/json"
	"net"
	"net/url"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"github.com/evenkeel/evenkeel/internal/servedby"
)

// Annotate adds to the spans that gRPC makes of an RPC and its attempts (gRFC A72) what tells the story of a
// strategy: the target and the LB policy, whether name resolution held the RPC up, and for each
// attempt the pod that was chosen, its node and its zone. spans is the option that has gRPC make the spans.
// One that is not recorded costs next to nothing.
//
// No attribute's values grow with the traffic: they are settings, pods and addresses.
func Annotate(s Strategy, spans grpc.DialOption) []grpc.DialOption {
	a := &annotator{call: []attribute.KeyValue{
		attribute.String("rpc.system", "grpc"),
		attribute.String("evenkeel.strategy", s.String()),
		attribute.String("grpc.target", s.Target),
		attribute.String("grpc.lb_policy", s.Policy()),
		attribute.Bool("evenkeel.name_resolution_delayed", false), // until it is
	}}

	return []grpc.DialOption{
		grpc.WithStatsHandler(a), // hears of an attempt's end before its span is ended
		spans,
		grpc.WithChainUnaryInterceptor(a.unary), grpc.WithChainStreamInterceptor(a.stream), // within the RPC's span
	}
}

// Policy is the LB policy that the service config asks for, pick_first without one.
func (s Strategy) Policy() string {
	var config struct {
		LoadBalancingConfig []map[string]json.RawMessage `json:"loadBalancingConfig"`
		LoadBalancingPolicy string                       `json:"loadBalancingPolicy"`
	}
	// A service config that is none makes no channel either.
	_ = json.Unmarshal([]byte(s.ServiceConfig), &config)
	// gRPC takes the first that it knows, and ValidateServiceConfig wants all to be known.
	for _, policy := range config.LoadBalancingConfig {
		for name := range policy {
			return name
		}
	}
	if config.LoadBalancingPolicy != "" {
		return config.LoadBalancingPolicy
	}

	return grpc.PickFirstBalancerName
}

// String is the strategy in two words: the scheme of its target and its LB policy.
func (s Strategy) String() string {
	scheme := "dns" // what gRPC takes a target without a scheme for
	if u, err := url.Parse(s.Target); err == nil && u.Opaque == "" && u.Scheme != "" {
		scheme = u.Scheme
	}

	return scheme + " " + s.Policy()
}

type annotator struct{ call []attribute.KeyValue }

func (a *annotator) unary(
	ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	a.annotate(ctx)
	err := invoker(ctx, method, req, reply, cc, opts...)
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetAttributes(code(err))
	}

	return err
}

func (a *annotator) stream(
	ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	a.annotate(ctx)

	return streamer(ctx, desc, cc, method, opts...)
}

func (a *annotator) annotate(ctx context.Context) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetAttributes(a.call...)
	}
}

// TagRPC notes whether the RPC had to wait for the resolver. The attempt has no span yet.
func (a *annotator) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	if span := trace.SpanFromContext(ctx); info.NameResolutionDelay && span.IsRecording() {
		span.SetAttributes(attribute.Bool("evenkeel.name_resolution_delayed", true))
	}

	return ctx
}

// HandleRPC notes where an attempt went, who answered and how it ended.
func (a *annotator) HandleRPC(ctx context.Context, event stats.RPCStats) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	switch event := event.(type) {
	case *stats.OutHeader:
		span.SetAttributes(peer(event.RemoteAddr)...)
	case *stats.InHeader:
		span.SetAttributes(servers(event.Header)...)
	case *stats.InTrailer:
		// A server that fails at once sends its headers and trailers as one.
		span.SetAttributes(servers(event.Trailer)...)
	case *stats.End:
		span.SetAttributes(code(event.Error))
	}
}

// TagConn adds nothing.
func (*annotator) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn takes no notice.
func (*annotator) HandleConn(context.Context, stats.ConnStats) {}

func code(err error) attribute.KeyValue {
	return attribute.Int("rpc.grpc.status_code", int(status.Code(err)))
}

// peer is an address in the words of OpenTelemetry's semantic conventions.
func peer(address net.Addr) []attribute.KeyValue {
	if address == nil {
		return nil
	}
	host, port, err := net.SplitHostPort(address.String())
	if err != nil {
		return nil
	}
	attributes := []attribute.KeyValue{attribute.String("network.peer.address", host)}
	if n, err := strconv.Atoi(port); err == nil {
		attributes = append(attributes, attribute.Int("network.peer.port", n))
	}

	return attributes
}

// servers says who answered, if it was said.
func servers(md metadata.MD) []attribute.KeyValue {
	var attributes []attribute.KeyValue
	for key, name := range map[string]string{
		servedby.Pod: "evenkeel.pod", servedby.Node: "evenkeel.node", servedby.Zone: "evenkeel.zone",
	} {
		if values := md[key]; len(values) > 0 {
			attributes = append(attributes, attribute.String(name, values[0]))
		}
	}

	return attributes
}
