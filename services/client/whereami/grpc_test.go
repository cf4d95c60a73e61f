package whereami

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflection "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/evenkeel/evenkeel/internal/servedby"
	"github.com/evenkeel/evenkeel/internal/telemetry"
	geoipv1 "github.com/evenkeel/evenkeel/proto/geoip/v1"
	rngv1 "github.com/evenkeel/evenkeel/proto/rng/v1"
	whereamiv1 "github.com/evenkeel/evenkeel/proto/whereami/v1"
)

// open opens the door over gRPC, and is a channel to it.
func open(t *testing.T, d Door, options ...grpc.ServerOption) *grpc.ClientConn {
	t.Helper()
	server, err := Listen("127.0.0.1:0", d, "client-1", slog.New(slog.DiscardHandler), options...)
	if err != nil {
		t.Fatal(err)
	}
	server.Start()
	t.Cleanup(func() { server.Shutdown(context.Background()) })

	return dial(t, server.Addr())
}

// locate asks over gRPC. Who served is from the header of an answer, or the trailer of an error.
func locate(t *testing.T, conn *grpc.ClientConn, ip string) (answer *whereamiv1.LocateResponse, by string, st *status.Status) {
	t.Helper()
	var header, trailer metadata.MD
	answer, err := whereamiv1.NewWhereamiServiceClient(conn).Locate(t.Context(), &whereamiv1.LocateRequest{Ip: ip},
		grpc.Header(&header), grpc.Trailer(&trailer))
	if err != nil {
		header = trailer
	}

	return answer, servedby.PodOf(header), status.Convert(err)
}

func TestBothDoorsGiveTheSameAnswer(t *testing.T) {
	d := door(t, &backend{})
	_, byHTTP := ask[Answer](t, d, "/api/whereami?ip=8.8.8.8")
	byGRPC, pod, st := locate(t, open(t, d), "8.8.8.8")
	if diff := cmp.Diff(&byHTTP, newAnswer(byGRPC)); st.Err() != nil || diff != "" || byHTTP.Number != 5 || byHTTP.Country.ISOCode != "CH" {
		t.Errorf("%v: %s", st.Err(), diff)
	}
	if pod != "client-1" {
		t.Errorf("served by %q", pod)
	}
}

func TestWithoutAnAddressTheCallersIsMeantOverGRPC(t *testing.T) {
	answer, _, st := locate(t, open(t, door(t, &backend{})), "")
	if answer.GetPlace().GetAddress() != "127.0.0.1" {
		t.Errorf("%v %v", answer, st.Err())
	}
}

func TestAnAddressThatIsNoneIsInvalidAndNamedAndAsksNobody(t *testing.T) {
	conn := open(t, Door{})
	for _, ip := range []string{"x", "8.8.8.8:53", "fe80::1%eth0", "8.8.8.0/24", strings.Repeat("8", 10_000), "\x00"} {
		_, pod, st := locate(t, conn, ip)
		const remedy = "give an IPv4 or IPv6 address such as 8.8.8.8"
		if st.Code() != codes.InvalidArgument || !strings.HasPrefix(st.Message(), "ip: ") || !strings.HasSuffix(st.Message(), remedy) ||
			len(st.Message()) > 300 || (len(ip) < 64 && !strings.Contains(st.Message(), fmt.Sprintf("%q", ip))) || pod != "client-1" {
			t.Errorf("%.20q: %v, from %q", ip, st.Err(), pod)
		}
		bad := detail[*errdetails.BadRequest](st).GetFieldViolations()
		if len(bad) != 1 || bad[0].GetField() != "ip" || "ip: "+bad[0].GetDescription() != st.Message() {
			t.Errorf("%.20q: %v", ip, st.Details())
		}
	}
}

// detail is that of a type among a status's details; the zero value if there is none.
func detail[D any](st *status.Status) (d D) {
	for _, each := range st.Details() {
		if found, ok := each.(D); ok {
			return found
		}
	}

	return d
}

func TestWithoutBothServicesTheRPCIsUnimplemented(t *testing.T) {
	d := door(t, &backend{})
	d.Rng = nil
	if _, _, st := locate(t, open(t, d), "8.8.8.8"); st.Code() != codes.Unimplemented || !strings.Contains(st.Message(), "--rng-target") {
		t.Error(st.Err())
	}
}

func TestAFailureOfAServiceHasItsCodeItsDetailsAndItsName(t *testing.T) {
	notFound, err := status.New(codes.NotFound, "no record").WithDetails(&errdetails.ResourceInfo{ResourceName: "192.0.2.1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		service string
		backend *backend
		code    codes.Code
		message string
	}{
		{"geoip", &backend{lookup: func(context.Context, *geoipv1.LookupRequest) (*geoipv1.LookupResponse, error) {
			return nil, notFound.Err()
		}}, codes.NotFound, "geoip: no record"},
		{"rng", &backend{roll: func(context.Context) error { return status.Error(codes.Unavailable, "no dice") }},
			codes.Unavailable, "rng: no dice"},
	} {
		_, pod, st := locate(t, open(t, door(t, test.backend)), "192.0.2.1")
		info := detail[*errdetails.ErrorInfo](st)
		if st.Code() != test.code || st.Message() != test.message || info.GetReason() != "SERVICE_FAILED" ||
			info.GetDomain() != "whereami.v1.WhereamiService" || info.GetMetadata()["service"] != test.service || pod != "client-1" {
			t.Errorf("%v %v, from %q", st.Err(), st.Details(), pod)
		}
		if test.service == "geoip" && detail[*errdetails.ResourceInfo](st).GetResourceName() != "192.0.2.1" {
			t.Errorf("what geoip said of it is lost: %v", st.Details())
		}
	}
}

func TestTheDoorHasHealthAndReflection(t *testing.T) {
	conn := open(t, Door{})
	for _, name := range []string{"", "whereami.v1.WhereamiService"} {
		answer, err := grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: name})
		if answer.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
			t.Errorf("%q: %v %v", name, answer, err)
		}
	}
	stream, err := reflection.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflection.ServerReflectionRequest{MessageRequest: &reflection.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	answer, err := stream.Recv()
	if err != nil || !slices.ContainsFunc(answer.GetListServicesResponse().GetService(), func(s *reflection.ServiceResponse) bool {
		return s.GetName() == "whereami.v1.WhereamiService"
	}) {
		t.Errorf("%v %v", answer, err)
	}
	if err := stream.CloseSend(); err != nil { // or the end would wait for it
		t.Fatal(err)
	}
}

func TestTheEndWaitsForRPCsInFlightAndThenCutsThem(t *testing.T) {
	for want, patience := range map[codes.Code]time.Duration{codes.OK: time.Minute, codes.Unavailable: 0} {
		t.Run(want.String(), func(t *testing.T) {
			asked, release := make(chan struct{}), make(chan struct{})
			server, err := Listen("127.0.0.1:0", door(t, &backend{roll: func(ctx context.Context) error {
				close(asked)
				select {
				case <-release:
				case <-ctx.Done():
				}

				return nil
			}}), "client-1", slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			server.Start()
			conn := dial(t, server.Addr())
			watching, stop := context.WithCancel(t.Context())
			defer stop()
			health, err := grpc_health_v1.NewHealthClient(conn).Watch(watching, &grpc_health_v1.HealthCheckRequest{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := health.Recv(); err != nil {
				t.Fatal(err)
			}
			var tasks sync.WaitGroup
			defer tasks.Wait()
			tasks.Go(func() {
				if _, _, st := locate(t, conn, "8.8.8.8"); st.Code() != want {
					t.Errorf("%v, want %v", st.Err(), want)
				}
			})
			<-asked
			tasks.Go(func() {
				ending, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				server.Shutdown(ending)
			})
			if patience == 0 {
				return // nobody releases it
			}
			if now, err := health.Recv(); err != nil || now.GetStatus() != grpc_health_v1.HealthCheckResponse_NOT_SERVING {
				t.Errorf("%v %v", now, err)
			}
			stop()
			close(release)
		})
	}
}

// sink takes spans as Jaeger would.
type sink struct {
	collector.UnimplementedTraceServiceServer

	mu    sync.Mutex
	spans []seen
}

// seen is a span that came to a sink, with the service that sent it.
type seen struct{ service, name, trace, id, parent string }

func (s *sink) Export(_ context.Context, r *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, resource := range r.GetResourceSpans() {
		service := ""
		for _, a := range resource.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				service = a.GetValue().GetStringValue()
			}
		}
		for _, scope := range resource.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				s.spans = append(s.spans, seen{
					service, span.GetName(), hex.EncodeToString(span.GetTraceId()),
					hex.EncodeToString(span.GetSpanId()), hex.EncodeToString(span.GetParentSpanId()),
				})
			}
		}
	}

	return &collector.ExportTraceServiceResponse{}, nil
}

// below is the tree of spans under one, a line each, in the order of their names.
func (s *sink) below(parent, indent string) string {
	var lines []string
	for _, span := range s.spans {
		if span.parent == parent {
			lines = append(lines, indent+span.service+" "+span.name+"\n"+s.below(span.id, indent+"  "))
		}
	}
	slices.Sort(lines)

	return strings.Join(lines, "")
}

func TestOneRPCIsOneTraceThroughThreeServices(t *testing.T) {
	spans := &sink{}
	collecting := serve(t, func(s *grpc.Server) { collector.RegisterTraceServiceServer(s, spans) })
	tell := map[string]*telemetry.Telemetry{}
	for _, service := range []string{"client", "geoip", "rng"} {
		tel, err := telemetry.Start(t.Context(), telemetry.Identity{Service: service}, telemetry.Config{
			Traces: telemetry.Traces{Endpoint: "http://" + collecting.String(), Sampler: "parentbased_always_off"},
		}, t.Output())
		if err != nil {
			t.Fatal(err)
		}
		tell[service] = tel
	}
	both := &backend{}
	geoip := serve(t, func(s *grpc.Server) { geoipv1.RegisterGeoipServiceServer(s, both) }, tell["geoip"].ServerOptions()...)
	rng := serve(t, func(s *grpc.Server) { rngv1.RegisterRngServiceServer(s, both) }, tell["rng"].ServerOptions()...)
	traced := tell["client"].DialOption()
	d := Door{GeoIP: dial(t, geoip, traced), Rng: dial(t, rng, traced), Timeout: 10 * time.Second}
	conn := open(t, d, tell["client"].ServerOptions()...)

	const trace, caller = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	ctx := metadata.AppendToOutgoingContext(t.Context(), "traceparent", "00-"+trace+"-"+caller+"-01")
	answer, err := whereamiv1.NewWhereamiServiceClient(conn).Locate(ctx, &whereamiv1.LocateRequest{Ip: "8.8.8.8"})
	if err != nil || answer.GetTraceId() != trace {
		t.Errorf("the answer names the trace %q: %v", answer.GetTraceId(), err)
	}
	if answer, _, st := locate(t, conn, "8.8.8.8"); st.Err() != nil || answer.GetTraceId() != "" {
		t.Errorf("a request that is not recorded has the trace %q: %v", answer.GetTraceId(), st.Err())
	}
	for _, tel := range tell {
		if err := tel.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	spans.mu.Lock()
	defer spans.mu.Unlock()
	const want = `client Recv.whereami.v1.WhereamiService.Locate
  client Sent.geoip.v1.GeoipService.Lookup
    client Attempt.geoip.v1.GeoipService.Lookup
      geoip Recv.geoip.v1.GeoipService.Lookup
  client Sent.rng.v1.RngService.Roll
    client Attempt.rng.v1.RngService.Roll
      rng Recv.rng.v1.RngService.Roll
`
	if diff := cmp.Diff(want, spans.below(caller, "")); diff != "" || len(spans.spans) != 7 {
		t.Errorf("%d spans (-want +got):\n%s", len(spans.spans), diff)
	}
	for _, span := range spans.spans {
		if span.trace != trace {
			t.Errorf("%s is of another trace", span.name)
		}
	}
}
