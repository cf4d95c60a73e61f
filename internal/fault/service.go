package fault

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	faultv1 "github.com/evenkeel/evenkeel/proto/fault/v1"
)

// What fault.proto documents.
const (
	maxLatency   = time.Minute
	maxSlowStart = time.Hour
)

// injectedError is the message of every error that a fault is.
const injectedError = "injected by evenkeel's fault service"

// service is fault.v1.FaultService.
type service struct {
	faultv1.UnimplementedFaultServiceServer

	injector *Injector
}

// Set is FaultService.Set.
func (s *service) Set(_ context.Context, req *faultv1.SetRequest) (*faultv1.SetResponse, error) {
	f, err := parse(req.GetFaults(), time.Now())
	if err != nil {
		return nil, err
	}
	s.injector.replace(f)

	return &faultv1.SetResponse{Faults: f.set}, nil
}

// Get is FaultService.Get.
func (s *service) Get(context.Context, *faultv1.GetRequest) (*faultv1.GetResponse, error) {
	return &faultv1.GetResponse{Faults: s.injector.inForce.Load().message(time.Now())}, nil
}

// Clear is FaultService.Clear.
func (s *service) Clear(context.Context, *faultv1.ClearRequest) (*faultv1.ClearResponse, error) {
	s.injector.replace(nil)

	return &faultv1.ClearResponse{}, nil
}

// parse reads faults that are set now. The error is fit for the caller.
func parse(requested *faultv1.Faults, now time.Time) (*faults, error) {
	var bad violations
	f := &faults{refuseHealth: requested.GetRefuseHealth(), slowFrom: now, ended: make(chan struct{})}
	f.set, _ = proto.Clone(requested).(*faultv1.Faults)
	if l := f.set.GetLatency(); l != nil {
		f.latency = bad.duration("faults.latency.duration", l.GetDuration(), maxLatency)
		f.jitter = l.GetJitter()
		if !(f.jitter >= 0 && f.jitter <= 1) { // NaN is neither
			bad.add("faults.latency.jitter", "%v is out of range: give 0 to 1", f.jitter)
		}
	}
	if e := f.set.GetErrors(); e != nil {
		f.errorRate = e.GetRate()
		if !(f.errorRate > 0 && f.errorRate <= 1) {
			bad.add("faults.errors.rate", "%v is out of range: give more than 0, to 1", f.errorRate)
		}
		if e.GetCode() == "" {
			e.Code = "UNAVAILABLE"
		}
		f.err = status.Error(bad.code("faults.errors.code", e.GetCode()), injectedError)
	}
	if s := f.set.GetSlowStart(); s != nil {
		f.slowStart = bad.duration("faults.slow_start.latency", s.GetLatency(), maxLatency)
		f.slowFor = bad.duration("faults.slow_start.duration", s.GetDuration(), maxSlowStart)
	}
	if f.set.GetLatency() == nil && f.set.GetErrors() == nil && f.set.GetSlowStart() == nil && !f.refuseHealth {
		bad.add("faults", "there is none: give latency, errors, slow_start or refuse_health; Clear ends them")
	}

	return f, bad.err()
}

// violations are the faults of a request, all of them, so that a caller mends it
// in one go.
type violations []*errdetails.BadRequest_FieldViolation

func (v *violations) add(field, format string, args ...any) {
	*v = append(*v, &errdetails.BadRequest_FieldViolation{Field: field, Description: fmt.Sprintf(format, args...)})
}

func (v *violations) duration(field string, duration *durationpb.Duration, most time.Duration) time.Duration {
	accepted := fmt.Sprintf("give more than 0s, to %gs", most.Seconds())
	d := duration.AsDuration()
	switch {
	case duration == nil:
		v.add(field, "is missing: %s", accepted)
	case duration.CheckValid() != nil:
		v.add(field, "%ds and %dns is not a duration: %s", duration.GetSeconds(), duration.GetNanos(), accepted)
	case d <= 0 || d > most:
		v.add(field, "%v is out of range: %s", d, accepted)
	}

	return d
}

// code reads a status by its name in gRPC, which is how service configs name it too.
func (v *violations) code(field, name string) codes.Code {
	var c codes.Code
	if err := c.UnmarshalJSON([]byte(strconv.Quote(name))); err != nil || c == codes.OK {
		v.add(field, "%q is not the status of an error: give one of gRPC's names but OK, such as UNAVAILABLE", name)
	}

	return c
}

// err is nil, or INVALID_ARGUMENT with google.rpc.BadRequest details.
func (v *violations) err() error {
	if len(*v) == 0 {
		return nil
	}
	lines := make([]string, len(*v))
	for i, violation := range *v {
		lines[i] = violation.GetField() + ": " + violation.GetDescription()
	}
	st := status.New(codes.InvalidArgument, strings.Join(lines, ", and "))
	detailed, err := st.WithDetails(&errdetails.BadRequest{FieldViolations: *v})
	if err != nil {
		// The details are for programs; the message has said it all.
		return st.Err()
	}

	return detailed.Err()
}
