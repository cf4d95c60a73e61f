package keys_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/metadata"

	"github.com/evenkeel/evenkeel/internal/loadreport"
	"github.com/evenkeel/evenkeel/services/client/keys"
)

func uniform(count int) keys.Config {
	return keys.Config{Keys: keys.Uniform, KeyCount: count, KeySkew: 1.1, KeyHeader: "x-user-id"}
}

func zipf(count int, skew float64) keys.Config {
	return keys.Config{Keys: keys.Zipf, KeyCount: count, KeySkew: skew, KeyHeader: "x-user-id"}
}

// drawn counts how often each key is drawn.
func drawn(t *testing.T, c keys.Config, times int) []float64 {
	t.Helper()
	counts := make([]float64, c.KeyCount)
	draws := keys.NewSet(c).Draws(0)
	for range times {
		k := draws.Next()
		if k < 0 || k >= c.KeyCount {
			t.Fatalf("%+v: key %d", c, k)
		}
		counts[k]++
	}

	return counts
}

func TestUniformKeysAreDrawnAlikeOften(t *testing.T) {
	const times = 100_000
	for k, n := range drawn(t, uniform(100), times) {
		// Six standard deviations: the draws are the same every time.
		if math.Abs(n-times/100) > 6*math.Sqrt(times/100) {
			t.Errorf("key %d was drawn %v times of %d", k, n, times)
		}
	}
}

func TestZipfKeysAreDrawnAsOftenAsTheLawSays(t *testing.T) {
	const times = 200_000
	for _, skew := range []float64{1.01, 1.1, 2, 10} {
		counts := drawn(t, zipf(50, skew), times)
		var sum float64
		for k := range counts {
			sum += math.Pow(float64(k+1), -skew)
		}
		for k, n := range counts {
			want := times * math.Pow(float64(k+1), -skew) / sum
			if math.Abs(n-want) > 6*math.Sqrt(want)+1 {
				t.Errorf("skew %v: key %d was drawn %v times of %d, want about %.0f", skew, k, n, times, want)
			}
		}
	}
}

func TestASingleKeyIsAlwaysTheSame(t *testing.T) {
	drawn(t, uniform(1), 100)
	drawn(t, zipf(1, 1.01), 100)
}

func TestRunsDrawTheSameKeysAndSequencesDiffer(t *testing.T) {
	for _, c := range []keys.Config{uniform(1000), zipf(1000, 1.1)} {
		sequence := func(n int) (all []int) {
			draws := keys.NewSet(c).Draws(n)
			for range 100 {
				all = append(all, draws.Next())
			}

			return all
		}
		if diff := cmp.Diff(sequence(3), sequence(3)); diff != "" {
			t.Errorf("%s: two runs:\n%s", c.Keys, diff)
		}
		if cmp.Equal(sequence(3), sequence(4)) {
			t.Errorf("%s: two sequences are the same", c.Keys)
		}
	}
}

func TestAnRPCCarriesItsKeyInTheHeader(t *testing.T) {
	c := uniform(200)
	c.KeyHeader = "x-tenant"
	ctx := keys.NewSet(c).Attach(context.Background(), 123)
	got, _ := metadata.FromOutgoingContext(ctx)
	if diff := cmp.Diff(metadata.Pairs("x-tenant", "user-000123"), got); diff != "" {
		t.Error(diff)
	}
}

func TestWithoutKeysNothingIsDrawn(t *testing.T) {
	set := keys.NewSet(keys.Config{Keys: keys.None, KeyCount: 1000})
	if set != nil || set.Draws(0).Next() != keys.NoKey || set.Settings() != nil || set.String() != "none" {
		t.Errorf("%+v %v", set, set.Settings())
	}
}

func TestTheSettingsSayWhichKeysThereAre(t *testing.T) {
	for want, c := range map[string]keys.Config{
		"300, zipf (s = 1.1), in x-user-id": zipf(300, 1.1),
		"5, uniform, in x-user-id":          uniform(5),
	} {
		if got := keys.NewSet(c).String(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	want := &loadreport.Keys{Distribution: "uniform", Count: 5, Header: "x-user-id"}
	if diff := cmp.Diff(want, keys.NewSet(uniform(5)).Settings()); diff != "" {
		t.Error(diff)
	}
}

func TestABadSettingIsOneLineThatNamesItsFlag(t *testing.T) {
	valid := zipf(1000, 1.1)
	if err := valid.Validate(); err != nil {
		t.Errorf("%+v: %v", valid, err)
	}
	for want, change := range map[string]func(*keys.Config){
		"--key-count: 0 is out of range: give 1 to 100000":      func(c *keys.Config) { c.KeyCount = 0 },
		"--key-count: 100001 is out of range: give 1 to 100000": func(c *keys.Config) { c.KeyCount = 100_001 },
		"--key-skew: 1 is out of range: give 1.01 to 10":        func(c *keys.Config) { c.KeySkew = 1 },
		"--key-skew: NaN is out of range: give 1.01 to 10":      func(c *keys.Config) { c.KeySkew = math.NaN() },
		`--key-header: "" is empty: give`:                       func(c *keys.Config) { c.KeyHeader = "" },
		`--key-header: "X-User" has characters other than`:      func(c *keys.Config) { c.KeyHeader = "X-User" },
		`--key-header: ":path" has characters other than`:       func(c *keys.Config) { c.KeyHeader = ":path" },
		`--key-header: "x user" has characters other than`:      func(c *keys.Config) { c.KeyHeader = "x user" },
		`--key-header: "x\nuser" has characters other than`:     func(c *keys.Config) { c.KeyHeader = "x\nuser" },
		`--key-header: "user-bin" is for binary values: give`:   func(c *keys.Config) { c.KeyHeader = "user-bin" },
		`--key-header: "grpc-user" is reserved: give`:           func(c *keys.Config) { c.KeyHeader = "grpc-user" },
		`--key-header: "te" is reserved: give`:                  func(c *keys.Config) { c.KeyHeader = "te" },
		`--key-header: "host" is reserved: give`:                func(c *keys.Config) { c.KeyHeader = "host" },
		`--key-header: "traceparent" is reserved: give`:         func(c *keys.Config) { c.KeyHeader = "traceparent" },
	} {
		c := valid
		change(&c)
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, want %s...", err, want)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	for _, c := range []keys.Config{{Keys: keys.None}, uniform(1000), zipf(1000, 1.1)} {
		b.Run(fmt.Sprintf("keys=%s", c.Keys), func(b *testing.B) {
			draws := keys.NewSet(c).Draws(0)
			b.ReportAllocs()
			for b.Loop() {
				draws.Next()
			}
		})
	}
}
