// Package whereami is an HTTP front door to the suite: it asks geoip where an
// address is and rng for a number, so that one request makes one trace through
// three services.
package whereami

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/evenkeel/evenkeel/internal/servedby"
	geoipv1 "github.com/evenkeel/evenkeel/proto/geoip/v1"
	rngv1 "github.com/evenkeel/evenkeel/proto/rng/v1"
)

// maxAddressText is longer than any address, in bytes.
const maxAddressText = 64

// Door answers GET /api/whereami?ip=ADDRESS.
type Door struct {
	// GeoIP and Rng are the channels to the services; nil for one that is not there.
	GeoIP, Rng grpc.ClientConnInterface
	// Timeout is how long both RPCs together may take.
	Timeout time.Duration
}

// Answer is what the front door says of an address. What the database does not
// know is absent.
type Answer struct {
	IP       string    `json:"ip"`
	Network  string    `json:"network,omitempty"`
	Country  *Country  `json:"country,omitempty"`
	City     string    `json:"city,omitempty"`
	Location *Location `json:"location,omitempty"`
	AS       *AS       `json:"autonomousSystem,omitempty"`
	// Number is a number from 1 to 6 from rng.
	Number int64 `json:"number"`
	// ServedBy has the pod that answered, for each service.
	ServedBy map[string]string `json:"servedBy"`
	// TraceID is where to look for the request's trace; absent when it is not recorded.
	TraceID string `json:"traceId,omitempty"`
}

// Country is a country or territory.
type Country struct {
	ISOCode string `json:"isoCode"`
	Name    string `json:"name,omitempty"`
}

// Location is a position in degrees.
type Location struct {
	Latitude  float64 `json:"latitude"`
	Longitude float64 `json:"longitude"`
}

// AS is an autonomous system.
type AS struct {
	Number       uint32 `json:"number"`
	Organization string `json:"organization,omitempty"`
}

// Failure is the answer when there is no Answer.
type Failure struct {
	// Code is the name of a gRPC status code, such as "NOT_FOUND".
	Code string `json:"code"`
	// Service is the service that failed; absent when the request itself is at fault.
	Service string `json:"service,omitempty"`
	Message string `json:"message"`
	// TraceID is as in Answer.
	TraceID string `json:"traceId,omitempty"`
}

// serviceError is a failure of one service.
type serviceError struct {
	service string
	err     error
}

func (e serviceError) Error() string { return e.service + ": " + e.err.Error() }
func (e serviceError) Unwrap() error { return e.err }

// Traced is the door with a span around each request, the parent of those of its
// RPCs.
func (d Door) Traced(tracer trace.TracerProvider) http.Handler {
	return otelhttp.NewHandler(d, "whereami",
		otelhttp.WithTracerProvider(tracer),
		otelhttp.WithPropagators(propagation.TraceContext{}))
}

// ServeHTTP answers a request.
func (d Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	address, err := addressOf(r)
	if err != nil {
		write(w, http.StatusBadRequest, Failure{Code: code.Code_INVALID_ARGUMENT.String(), Message: err.Error()})

		return
	}
	if d.GeoIP == nil || d.Rng == nil {
		write(w, http.StatusNotImplemented, Failure{
			Code:    code.Code_UNIMPLEMENTED.String(),
			Message: "this client has not got both services: start it with --rng-target and --geoip-target",
		})

		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), d.Timeout)
	defer cancel()
	answer, err := d.ask(ctx, address)
	if err != nil {
		// ask wraps every error.
		var failed serviceError
		errors.As(err, &failed)
		st := status.Convert(failed.err)
		write(w, httpStatus(st.Code()), Failure{
			Code: code.Code(st.Code()).String(), Service: failed.service, Message: st.Message(), TraceID: traceOf(r.Context()),
		})

		return
	}
	answer.TraceID = traceOf(r.Context())
	write(w, http.StatusOK, answer)
}

// traceOf is the trace that a request is recorded in, "" if it is not.
func traceOf(ctx context.Context) string {
	if span := trace.SpanContextFromContext(ctx); span.IsSampled() {
		return span.TraceID().String()
	}

	return ""
}

// addressOf is the address that the request is about: its parameter ip or, without
// one, whoever sent it.
func addressOf(r *http.Request) (string, error) {
	text := r.URL.Query().Get("ip")
	if text == "" {
		caller, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil {
			return "", fmt.Errorf("the address of the caller, %q, is not an IP address: give one with ?ip=", r.RemoteAddr)
		}

		return caller.Addr().Unmap().WithZone("").String(), nil
	}
	if len(text) > maxAddressText {
		return "", fmt.Errorf("ip: the text has %d bytes: give an IPv4 or IPv6 address such as 8.8.8.8", len(text))
	}
	address, err := netip.ParseAddr(text)
	if err != nil || address.Zone() != "" {
		return "", fmt.Errorf("ip: %q is not an IP address: give an IPv4 or IPv6 address such as 8.8.8.8", text)
	}

	return address.String(), nil
}

// ask asks both services at once. Its error is a serviceError.
func (d Door) ask(ctx context.Context, address string) (*Answer, error) {
	var (
		where                   *geoipv1.LookupResponse
		number                  *rngv1.RollResponse
		whereHeader, diceHeader metadata.MD
	)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		request := &geoipv1.LookupRequest{Address: address}
		if where, err = geoipv1.NewGeoipServiceClient(d.GeoIP).Lookup(ctx, request, grpc.Header(&whereHeader)); err != nil {
			return serviceError{service: "geoip", err: err}
		}

		return nil
	})
	group.Go(func() (err error) {
		request := &rngv1.RollRequest{Count: 1}
		if number, err = rngv1.NewRngServiceClient(d.Rng).Roll(ctx, request, grpc.Header(&diceHeader)); err != nil {
			return serviceError{service: "rng", err: err}
		}

		return nil
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	answer := newAnswer(where)
	if v := number.GetValues(); len(v) > 0 {
		answer.Number = v[0]
	}
	answer.ServedBy = map[string]string{"geoip": servedby.PodOf(whereHeader), "rng": servedby.PodOf(diceHeader)}

	return answer, nil
}

func newAnswer(r *geoipv1.LookupResponse) *Answer {
	a := &Answer{IP: r.GetAddress(), Network: r.GetNetwork(), City: r.GetCity().GetName()}
	if c := r.GetCountry(); c != nil {
		a.Country = &Country{ISOCode: c.GetIsoCode(), Name: c.GetName()}
	}
	if l := r.GetLocation(); l != nil {
		a.Location = &Location{Latitude: l.GetLatitude(), Longitude: l.GetLongitude()}
	}
	if s := r.GetAutonomousSystem(); s != nil {
		a.AS = &AS{Number: s.GetNumber(), Organization: s.GetOrganization()}
	}

	return a
}

// httpStatus is the HTTP status for a gRPC one, as google/rpc/code.proto maps them.
func httpStatus(c codes.Code) int {
	switch c {
	case codes.InvalidArgument, codes.FailedPrecondition, codes.OutOfRange:
		return http.StatusBadRequest
	case codes.Unauthenticated:
		return http.StatusUnauthorized
	case codes.PermissionDenied:
		return http.StatusForbidden
	case codes.NotFound:
		return http.StatusNotFound
	case codes.Aborted, codes.AlreadyExists:
		return http.StatusConflict
	case codes.ResourceExhausted:
		return http.StatusTooManyRequests
	case codes.Canceled:
		return 499 // nginx's "client closed request"; net/http has no name for it
	case codes.Unimplemented:
		return http.StatusNotImplemented
	case codes.Unavailable:
		return http.StatusServiceUnavailable
	case codes.DeadlineExceeded:
		return http.StatusGatewayTimeout
	default:
		return http.StatusInternalServerError
	}
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	// A caller that has gone away is no news.
	_ = encoder.Encode(body)
}
