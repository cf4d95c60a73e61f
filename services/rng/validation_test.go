package main

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	rngv1 "github.com/evenkeel/evenkeel/proto/rng/v1"
)

func TestABadRequestNamesEveryBadFieldItsValueAndWhatIsAccepted(t *testing.T) {
	client, _ := serve(t, 1)
	roll := func(req *rngv1.RollRequest) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := client.Roll(ctx, req)

			return err
		}
	}
	stream := func(req *rngv1.RollStreamRequest) func(context.Context) error {
		return func(ctx context.Context) error {
			s, err := client.RollStream(ctx, req)
			if err != nil {
				return err
			}
			_, err = s.Recv()

			return err
		}
	}
	for _, test := range []struct {
		name string
		call func(context.Context) error
		want map[string]string
	}{
		{
			"min above max", roll(&rngv1.RollRequest{Min: new(int64(3)), Max: new(int64(2))}),
			map[string]string{"max": "2 is less than min: give 3 to 9223372036854775807"},
		},
		{
			"min above the default max", roll(&rngv1.RollRequest{Min: new(int64(7))}),
			map[string]string{"max": "6 (the default) is less than min: give 7 to 9223372036854775807"},
		},
		{
			"max below the default min", roll(&rngv1.RollRequest{Max: new(int64(0))}),
			map[string]string{"max": "0 is less than min: give 1 to 9223372036854775807"},
		},
		{
			"the bounds of int64 swapped", roll(&rngv1.RollRequest{Min: new(int64(math.MaxInt64)), Max: new(int64(math.MinInt64))}),
			map[string]string{"max": "-9223372036854775808 is less than min: give 9223372036854775807 to 9223372036854775807"},
		},
		{
			"too many", roll(&rngv1.RollRequest{Count: 1001}),
			map[string]string{"count": "1001 is out of range: give 1 to 1000; 0 or absent means 1"},
		},
		{
			"two faults at once", roll(&rngv1.RollRequest{Max: new(int64(-1)), Count: math.MaxUint32}),
			map[string]string{
				"max":   "-1 is less than min: give 1 to 9223372036854775807",
				"count": "4294967295 is out of range: give 1 to 1000; 0 or absent means 1",
			},
		},
		{
			"a stream with every fault there is",
			stream(&rngv1.RollStreamRequest{
				Min: new(int64(1)), Max: new(int64(0)), Count: 1_000_001, Interval: durationpb.New(time.Minute + 1),
			}),
			map[string]string{
				"max":      "0 is less than min: give 1 to 9223372036854775807",
				"count":    "1000001 is out of range: give 1 to 1000000; 0 or absent means until cancelled",
				"interval": "1m0.000000001s is out of range: give 0s to 60s; absent means 100ms",
			},
		},
		{
			"a negative interval", stream(&rngv1.RollStreamRequest{Interval: durationpb.New(-time.Nanosecond)}),
			map[string]string{"interval": "-1ns is out of range: give 0s to 60s; absent means 100ms"},
		},
		{
			"an interval that is no duration",
			stream(&rngv1.RollStreamRequest{Interval: &durationpb.Duration{Seconds: 1, Nanos: -1}}),
			map[string]string{"interval": "1s and -1ns is not a duration: give 0s to 60s; absent means 100ms"},
		},
		{
			"an interval beyond time.Duration",
			stream(&rngv1.RollStreamRequest{Interval: &durationpb.Duration{Seconds: 300_000_000_000}}),
			map[string]string{"interval": "2562047h47m16.854775807s is out of range: give 0s to 60s; absent means 100ms"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := test.call(testContext(t))
			st := status.Convert(err)
			if st.Code() != codes.InvalidArgument {
				t.Fatalf("got %v, want INVALID_ARGUMENT", err)
			}
			got := map[string]string{}
			for _, detail := range st.Details() {
				bad, ok := detail.(*errdetails.BadRequest)
				if !ok {
					t.Fatalf("detail %T, want BadRequest", detail)
				}
				for _, v := range bad.GetFieldViolations() {
					got[v.GetField()] = v.GetDescription()
					if !strings.Contains(st.Message(), v.GetField()+": "+v.GetDescription()) {
						t.Errorf("the message %q leaves %s out", st.Message(), v.GetField())
					}
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
