package channel_test

import (
	"testing"

	"github.com/evenkeel/evenkeel/services/client/channel"
)

// What validation takes, gRPC must take, for the rest of the program relies on it.

func FuzzTarget(f *testing.F) {
	for _, seed := range []string{
		"dns:///rng:8081", "rng:8081", "[::1]:8081", "unix:///x", "passthrough:///a:1", "dns://1.2.3.4/rng:8081",
		"foo://bar", "dns:///", "://", "dns:rng:1", "dns:///rng:8081?x=y#z", "dns:///%zz:1", "\x00", "DNS:///a:b", "dns%0X:0000",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, target string) {
		err := channel.ValidateTarget(target)
		if err != nil {
			return
		}
		conn, err := channel.New(channel.Strategy{Target: target})
		if err != nil {
			t.Fatalf("%q is valid, but no channel can be made: %v", target, err)
		}
		_ = conn.Close()
	})
}

func FuzzServiceConfig(f *testing.F) {
	for _, seed := range []string{
		"", "{}", `{"loadBalancingPolicy": "round_robin"}`, `{"loadBalancingConfig": [{"round_robin": {}}]}`, `{"loadBalancingConfig": [null]}`,
		`{"loadBalancingConfig": [{"ring_hash_experimental": {"minRingSize": 1e3}}]}`,
		`{"loadBalancingConfig": [{"weighted_round_robin": {"blackoutPeriod": "1s"}}]}`,
		`{"methodConfig": [{"name": [{}], "timeout": "1s", "retryPolicy": {"maxAttempts": 2, "initialBackoff": "1s", "maxBackoff": "1s", "backoffMultiplier": 1, "retryableStatusCodes": [14]}}]}`,
		`{"retryThrottling": null, "healthCheckConfig": {}}`, `{"LOADBALANCINGPOLICY": "pick_first"}`, "null", "0", "{\"a\":\xff}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if channel.ValidateServiceConfig(text) != nil {
			return
		}
		conn, err := channel.New(channel.Strategy{Target: "passthrough:///127.0.0.1:1", ServiceConfig: text})
		if err != nil {
			t.Fatalf("%q is valid, but no channel can be made: %v", text, err)
		}
		_ = conn.Close()
	})
}
