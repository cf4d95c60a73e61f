package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	rngv1 "github.com/evenkeel/evenkeel/proto/rng/v1"
)

// What rng.proto documents.
const (
	defaultMin      = 1
	defaultMax      = 6
	maxRollCount    = 1000
	maxStreamCount  = 1_000_000
	defaultInterval = 100 * time.Millisecond
	maxInterval     = time.Minute
)

// service is rng.v1.RngService.
type service struct {
	rngv1.UnimplementedRngServiceServer

	dice *dice
}

// Roll is RngService.Roll.
func (s *service) Roll(_ context.Context, req *rngv1.RollRequest) (*rngv1.RollResponse, error) {
	var bad violations
	lo, hi := bad.bounds(req.Min, req.Max)
	count := bad.count(req.GetCount(), maxRollCount, "0 or absent means 1")
	if err := bad.err(); err != nil {
		return nil, err
	}

	source := s.dice.take()
	defer s.dice.release(source)
	values := make([]int64, max(count, 1))
	for i := range values {
		values[i] = source.between(lo, hi)
	}

	return &rngv1.RollResponse{Values: values}, nil
}

// RollStream is RngService.RollStream.
func (s *service) RollStream(
	req *rngv1.RollStreamRequest, stream grpc.ServerStreamingServer[rngv1.RollStreamResponse],
) error {
	var bad violations
	lo, hi := bad.bounds(req.Min, req.Max)
	count := bad.count(req.GetCount(), maxStreamCount, "0 or absent means until cancelled")
	interval := bad.interval(req.GetInterval())
	if err := bad.err(); err != nil {
		return err
	}

	source := s.dice.take()
	defer s.dice.release(source)
	ctx := stream.Context()
	pause := time.NewTimer(interval)
	defer pause.Stop()
	for sequence := uint64(1); ; sequence++ {
		if err := stream.Send(&rngv1.RollStreamResponse{Value: source.between(lo, hi), Sequence: sequence}); err != nil {
			return err
		}
		if sequence == uint64(count) {
			return nil
		}
		pause.Reset(interval)
		select {
		case <-pause.C:
		case <-ctx.Done(): // the client left, or the drain timeout cut the stream
			return status.FromContextError(ctx.Err()).Err()
		}
	}
}

// violations are the faults of a request, all of them, so that a caller mends it
// in one go.
type violations []*errdetails.BadRequest_FieldViolation

func (v *violations) add(field, format string, args ...any) {
	*v = append(*v, &errdetails.BadRequest_FieldViolation{Field: field, Description: fmt.Sprintf(format, args...)})
}

func (v *violations) bounds(reqMin, reqMax *int64) (lo, hi int64) {
	lo, hi = defaultMin, defaultMax
	if reqMin != nil {
		lo = *reqMin
	}
	absent := " (the default)"
	if reqMax != nil {
		hi, absent = *reqMax, ""
	}
	if hi < lo {
		v.add("max", "%d%s is less than min: give %d to 9223372036854775807", hi, absent, lo)
	}

	return lo, hi
}

func (v *violations) count(count, most uint32, zero string) uint32 {
	if count > most {
		v.add("count", "%d is out of range: give 1 to %d; %s", count, most, zero)
	}

	return count
}

func (v *violations) interval(interval *durationpb.Duration) time.Duration {
	if interval == nil {
		return defaultInterval
	}
	if err := interval.CheckValid(); err != nil {
		v.add("interval", "%ds and %dns is not a duration: give 0s to %gs; absent means %v",
			interval.GetSeconds(), interval.GetNanos(), maxInterval.Seconds(), defaultInterval)

		return 0
	}
	d := interval.AsDuration()
	if d < 0 || d > maxInterval {
		v.add("interval", "%v is out of range: give 0s to %gs; absent means %v", d, maxInterval.Seconds(), defaultInterval)
	}

	return d
}

// err is nil, or INVALID_ARGUMENT with google.rpc.BadRequest details.
func (v *violations) err() error {
	if len(*v) == 0 {
		return nil
	}
	faults := make([]string, len(*v))
	for i, violation := range *v {
		faults[i] = violation.GetField() + ": " + violation.GetDescription()
	}
	st := status.New(codes.InvalidArgument, strings.Join(faults, ", and "))
	detailed, err := st.WithDetails(&errdetails.BadRequest{FieldViolations: *v})
	if err != nil {
		// The details are for programs; the message has said it all.
		return st.Err()
	}

	return detailed.Err()
}
