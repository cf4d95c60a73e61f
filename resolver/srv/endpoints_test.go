package srv

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

func TestRecordsBecomeEndpoints(t *testing.T) {
	hosts := map[string][]netip.Addr{
		"a.":    {netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.1")},
		"b.":    {netip.MustParseAddr("10.0.0.3")},
		"c.":    {netip.MustParseAddr("10.0.0.3")},
		"gone.": nil,
	}
	for name, test := range map[string]struct {
		records []record
		want    string
	}{
		"one host, both families":            {[]record{{port: 1, host: "a."}}, "[2001:db8::2]:1+10.0.0.1:1+10.0.0.2:1"},
		"one host, two ports":                {[]record{{port: 2, host: "b."}, {port: 1, host: "b."}}, "10.0.0.3:1 10.0.0.3:2"},
		"the same record twice":              {[]record{{port: 1, host: "b."}, {port: 1, host: "b."}}, "10.0.0.3:1"},
		"two names of one address":           {[]record{{port: 1, host: "c."}, {port: 1, host: "b."}}, "10.0.0.3:1"},
		"a host without addresses":           {[]record{{port: 1, host: "gone."}, {port: 1, host: "b."}}, "10.0.0.3:1"},
		"equal weights":                      {[]record{{port: 1, weight: 33, host: "b."}, {port: 2, weight: 33, host: "b."}}, "10.0.0.3:1 10.0.0.3:2"},
		"no weights":                         {[]record{{port: 1, host: "b."}, {port: 2, host: "b."}}, "10.0.0.3:1 10.0.0.3:2"},
		"different weights":                  {[]record{{port: 1, weight: 10, host: "b."}, {port: 2, weight: 65535, host: "b."}}, "10.0.0.3:1*10 10.0.0.3:2*65535"},
		"a weight of 0 beside others":        {[]record{{port: 1, weight: 0, host: "b."}, {port: 2, weight: 9, host: "b."}}, "10.0.0.3:1*1 10.0.0.3:2*9"},
		"a weight of a host without address": {[]record{{port: 1, weight: 7, host: "gone."}, {port: 2, weight: 9, host: "b."}}, "10.0.0.3:2"},
		"two weights of one target":          {[]record{{port: 1, weight: 3, host: "b."}, {port: 1, weight: 5, host: "b."}, {port: 2, weight: 1, host: "b."}}, "10.0.0.3:1*5 10.0.0.3:2*1"},
		"none at all":                        {nil, ""},
	} {
		for range 10 {
			rand.Shuffle(len(test.records), func(i, j int) { test.records[i], test.records[j] = test.records[j], test.records[i] })
			if got := describe(endpointsOf(test.records, hosts)); got != test.want {
				t.Errorf("%s: %s, want %s", name, got, test.want)
			}
		}
	}
}

func TestOnlyWhatGRPCWouldSeeIsADifference(t *testing.T) {
	hosts := map[string][]netip.Addr{"a.": {netip.MustParseAddr("10.0.0.1")}, "b.": {netip.MustParseAddr("10.0.0.2")}}
	both := func(a, b uint16) []record {
		return []record{{port: 1, weight: a, host: "a."}, {port: 1, weight: b, host: "b."}}
	}
	if !sameEndpoints(endpointsOf(both(50, 50), hosts), endpointsOf(both(33, 33), hosts)) {
		t.Error("equal weights differ from other equal weights")
	}
	for _, other := range [][]record{both(50, 49), both(50, 50)[:1], nil} {
		if sameEndpoints(endpointsOf(both(50, 50), hosts), endpointsOf(other, hosts)) {
			t.Errorf("%v is the same", other)
		}
	}
}
