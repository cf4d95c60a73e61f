package whereami

import (
	"encoding/json"
	"errors"
	"net/http"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/evenkeel/evenkeel/internal/telemetry"
	whereamiv1 "github.com/evenkeel/evenkeel/proto/whereami/v1"
)

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

// Traced is the door with a span around each request, the parent of those of its
// RPCs.
func (d Door) Traced(tracer trace.TracerProvider) http.Handler {
	return otelhttp.NewHandler(d, "whereami",
		otelhttp.WithTracerProvider(tracer),
		otelhttp.WithPropagators(propagation.TraceContext{}))
}

// ServeHTTP answers GET /api/whereami?ip=ADDRESS.
func (d Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, err := d.locate(r.Context(), r.URL.Query().Get("ip"), r.RemoteAddr)
	if err != nil {
		failure := Failure{TraceID: telemetry.TraceOf(r.Context())}
		if failed, ok := errors.AsType[serviceError](err); ok {
			failure.Service, err = failed.service, failed.err
		}
		st := status.Convert(err)
		failure.Code, failure.Message = code.Code(st.Code()).String(), st.Message()
		write(w, httpStatus(st.Code()), failure)

		return
	}
	write(w, http.StatusOK, newAnswer(answer))
}

func newAnswer(located *whereamiv1.LocateResponse) *Answer {
	r := located.GetPlace()
	a := &Answer{
		IP: r.GetAddress(), Network: r.GetNetwork(), City: r.GetCity().GetName(),
		Number: located.GetNumber(), ServedBy: located.GetServedBy(), TraceID: located.GetTraceId(),
	}
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
