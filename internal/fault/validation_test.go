package fault

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	faultv1 "github.com/evenkeel/evenkeel/proto/fault/v1"
)

func TestABadRequestNamesEveryBadFieldItsValueAndWhatIsAccepted(t *testing.T) {
	const none = "there is none: give latency, errors, slow_start or refuse_health; Clear ends them"
	for name, test := range map[string]struct {
		set  *faultv1.Faults
		want map[string]string
	}{
		"nothing":   {nil, map[string]string{"faults": none}},
		"no faults": {&faultv1.Faults{}, map[string]string{"faults": none}},
		"empty faults": {
			&faultv1.Faults{Latency: &faultv1.Latency{}, Errors: &faultv1.Errors{}, SlowStart: &faultv1.SlowStart{}},
			map[string]string{
				"faults.latency.duration":    "is missing: give more than 0s, to 60s",
				"faults.errors.rate":         "0 is out of range: give more than 0, to 1",
				"faults.slow_start.latency":  "is missing: give more than 0s, to 60s",
				"faults.slow_start.duration": "is missing: give more than 0s, to 3600s",
			},
		},
		"too much": {
			&faultv1.Faults{
				Latency: &faultv1.Latency{Duration: durationpb.New(time.Minute + 1), Jitter: 1.1},
				Errors:  &faultv1.Errors{Rate: 1.5, Code: "OK"},
				SlowStart: &faultv1.SlowStart{
					Latency: durationpb.New(2 * time.Minute), Duration: durationpb.New(2 * time.Hour),
				},
			},
			map[string]string{
				"faults.latency.duration":    "1m0.000000001s is out of range: give more than 0s, to 60s",
				"faults.latency.jitter":      "1.1 is out of range: give 0 to 1",
				"faults.errors.rate":         "1.5 is out of range: give more than 0, to 1",
				"faults.errors.code":         `"OK" is not the status of an error: give one of gRPC's names but OK, such as UNAVAILABLE`,
				"faults.slow_start.latency":  "2m0s is out of range: give more than 0s, to 60s",
				"faults.slow_start.duration": "2h0m0s is out of range: give more than 0s, to 3600s",
			},
		},
		"too little": {
			&faultv1.Faults{
				Latency: &faultv1.Latency{Duration: durationpb.New(0), Jitter: -0.1},
				Errors:  &faultv1.Errors{Rate: -1, Code: "14"},
				SlowStart: &faultv1.SlowStart{
					Latency: durationpb.New(-time.Second), Duration: &durationpb.Duration{Seconds: 1, Nanos: -1},
				},
			},
			map[string]string{
				"faults.latency.duration":    "0s is out of range: give more than 0s, to 60s",
				"faults.latency.jitter":      "-0.1 is out of range: give 0 to 1",
				"faults.errors.rate":         "-1 is out of range: give more than 0, to 1",
				"faults.errors.code":         `"14" is not the status of an error: give one of gRPC's names but OK, such as UNAVAILABLE`,
				"faults.slow_start.latency":  "-1s is out of range: give more than 0s, to 60s",
				"faults.slow_start.duration": "1s and -1ns is not a duration: give more than 0s, to 3600s",
			},
		},
		"no numbers": {
			&faultv1.Faults{
				Latency: &faultv1.Latency{Duration: durationpb.New(time.Second), Jitter: math.NaN()},
				Errors:  &faultv1.Errors{Rate: math.Inf(1)},
			},
			map[string]string{
				"faults.latency.jitter": "NaN is out of range: give 0 to 1",
				"faults.errors.rate":    "+Inf is out of range: give more than 0, to 1",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(test.set, time.Now())
			if diff := cmp.Diff(test.want, violationsOf(t, err)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// violationsOf reads an INVALID_ARGUMENT, whose message must say what its details say.
func violationsOf(t *testing.T, err error) map[string]string {
	t.Helper()
	st := status.Convert(err)
	if st.Code() != codes.InvalidArgument || len(st.Details()) != 1 {
		t.Fatalf("got %v with %v, want INVALID_ARGUMENT with one detail", err, st.Details())
	}
	bad, ok := st.Details()[0].(*errdetails.BadRequest)
	if !ok {
		t.Fatalf("detail %T, want BadRequest", st.Details()[0])
	}
	got := map[string]string{}
	for _, v := range bad.GetFieldViolations() {
		got[v.GetField()] = v.GetDescription()
		if !strings.Contains(st.Message(), v.GetField()+": "+v.GetDescription()) {
			t.Errorf("the message %q leaves %s out", st.Message(), v.GetField())
		}
	}

	return got
}

// FuzzSet holds that faults are refused with a reason, or keep to their bounds.
func FuzzSet(f *testing.F) {
	f.Add(int64(0), int32(100_000_000), 0.2, 0.1, "UNAVAILABLE", int64(1), int64(30), true, uint8(7))
	f.Add(int64(60), int32(0), 1.0, 1.0, "", int64(60), int64(3600), false, uint8(7))
	f.Add(int64(-1), int32(1), math.NaN(), math.Inf(-1), "OK", int64(math.MaxInt64), int64(math.MinInt64), false, uint8(7))
	f.Add(int64(0), int32(0), 0.0, 0.0, "\x00\"", int64(0), int64(0), false, uint8(0))
	f.Fuzz(func(t *testing.T, seconds int64, nanos int32, jitter, rate float64, code string, slow, over int64, refuse bool, which uint8) {
		requested := &faultv1.Faults{RefuseHealth: refuse}
		if which&1 != 0 {
			requested.Latency = &faultv1.Latency{Duration: &durationpb.Duration{Seconds: seconds, Nanos: nanos}, Jitter: jitter}
		}
		if which&2 != 0 {
			requested.Errors = &faultv1.Errors{Rate: rate, Code: code}
		}
		if which&4 != 0 {
			requested.SlowStart = &faultv1.SlowStart{
				Latency: &durationpb.Duration{Seconds: slow, Nanos: nanos}, Duration: &durationpb.Duration{Seconds: over},
			}
		}
		now := time.Now()
		got, err := parse(requested, now)
		if err != nil {
			violationsOf(t, err)

			return
		}
		if len(got.active(now)) == 0 {
			t.Error("faults that do nothing were accepted")
		}
		for _, random := range []float64{0, 0.5, math.Nextafter(1, 0)} {
			if d := got.vary(random); d < 0 || d > 2*maxLatency {
				t.Errorf("a latency of %v", d)
			}
		}
		for _, later := range []time.Duration{0, got.slowFor / 2, got.slowFor, math.MaxInt64} {
			if d := got.slowness(now.Add(later)); d < 0 || d > maxLatency || later >= got.slowFor && d != 0 {
				t.Errorf("a slow start of %v after %v", d, later)
			}
		}
		if requested.GetErrors() != nil && (status.Code(got.err) == codes.OK || got.errorRate <= 0 || got.errorRate > 1) {
			t.Errorf("an error %v at a rate of %v", got.err, got.errorRate)
		}
	})
}
