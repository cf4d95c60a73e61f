package channel_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/evenkeel/evenkeel/services/client/channel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTargetsThatSayWhatTheyMeanAreTaken(t *testing.T) {
	for _, target := range []string{
		"dns:///rng-headless:8081",
		"dns:///rng-headless.evenkeel.svc.cluster.local.:8081",
		"DNS:///rng:8081",
		"dns://10.96.0.10/rng-headless:8081",
		"dns:///[::1]:8081",
		"dns:rng:8081",
		"rng:8081",
		"127.0.0.1:8081",
		"[::1]:8081",
		"passthrough:///127.0.0.1:8081",
		"unix:///run/rng.sock",
		"unix:rng.sock",
		"endpointslice:///rng-headless:grpc",
		"endpointslice://prod/rng-headless:8081?zone=prefer",
		"srv:///rng-headless:grpc",
	} {
		if err := channel.ValidateTarget(target); err != nil {
			t.Errorf("%q: %v", target, err)
		}
	}
}

func TestTargetsThatGRPCWouldMisunderstandAreRefused(t *testing.T) {
	for target, want := range map[string]string{
		"":                            "names no endpoint",
		"dns:///":                     "names no endpoint",
		"dns://rng:8081":              "has no host and port",
		"dns:///rng":                  "has no host and port",
		"dns:///:8081":                "has no host and port",
		"dns:///rng:":                 "has no host and port",
		"rng":                         "has no host and port",
		"dsn:///rng:8081":             `the scheme "dsn", which is not known: give one of dns, endpointslice, passthrough, srv, unix`,
		"http://rng:8081":             `the scheme "http"`,
		"://rng:8081":                 `the scheme ""`,
		"dns:///rng:8081\x00":         "is not a target URI",
		"dns://rng:grpc/x":            "is not a target URI",
		"passthrough:///":             "names no endpoint",
		"unix://":                     "names no endpoint",
		"kubernets:///rng:grpc":       "give one of",
		"\tdns:///rng-headless:8081":  "which is not known",
		"endpointslice:///RNG:grpc":   `"RNG"`,
		"endpointslice:///rng?zone=x": `"x"`,
		"srv:///rng-headless":         "port",
	} {
		err := channel.ValidateTarget(target)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want ...%s...", target, err, want)
		}
	}
}

func TestServiceConfigsThatGRPCHeedsAreTaken(t *testing.T) {
	for _, text := range []string{
		``,
		`{}`,
		`{"loadBalancingPolicy": "round_robin"}`,
		`{"loadBalancingConfig": [{"pick_first": {}}]}`,
		`{"loadBalancingConfig": [{"pick_first": {"shuffleAddressList": true}}]}`,
		`{"loadBalancingConfig": [{"nobody_knows": {}}, {"round_robin": {}}]}`,
		`{"loadBalancingConfig": [{"least_request_experimental": {"choiceCount": 3}}]}`,
		`{"loadBalancingConfig": [{"ring_hash_experimental": {"requestHashHeader": "key"}}]}`,
		`{"loadBalancingConfig": [{"weighted_round_robin": {}}]}`,
		`{"loadBalancingConfig": [{"consistent_hash": {"requestHashHeader": "x-user-id", "loadFactor": 1.25}}]}`,
		`{"loadBalancingConfig": [{"random_subsetting_experimental": {"subsetSize": 2, "childPolicy": [{"round_robin": {}}]}}]}`,
		`{"healthCheckConfig": {"serviceName": ""}, "loadBalancingConfig": [{"round_robin": {}}]}`,
		`{"methodConfig": [{"name": [{"service": "rng.v1.RngService", "method": "Roll"}, {}], "waitForReady": true,
			"timeout": "1.5s", "maxRequestMessageBytes": 1000, "maxResponseMessageBytes": 1000,
			"retryPolicy": {"maxAttempts": 3, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2,
			"retryableStatusCodes": ["UNAVAILABLE", 8]}}], "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1}}`,
	} {
		if err := channel.ValidateServiceConfig(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestServiceConfigsThatGRPCWouldIgnoreOrRefuseAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		`round_robin`:                            "is not a service config",
		`[]`:                                     "is not a service config",
		`{`:                                      "is not a service config",
		`{} {}`:                                  "more after the service config",
		`{"loadBalancingConfg": []}`:             `unknown field "loadBalancingConfg"`,
		`{"loadBalancingPolicy": "roundrobin"}`:  `"roundrobin", which is not known`,
		`{"loadBalancingPolicy": "Round_Robin"}`: "which is not known",
		`{"loadBalancingConfig": [{"round_robin": {}, "pick_first": {}}]}`:                   "has 2 policies",
		`{"loadBalancingConfig": [{}]}`:                                                      "has 0 policies",
		`{"loadBalancingConfig": []}`:                                                        "invalid",
		`{"loadBalancingConfig": [{"rund_robin": {}}]}`:                                      "no supported policies",
		`{"loadBalancingConfig": [{"least_request_experimental": {"choiceCount": 0}}]}`:      "choiceCount",
		`{"methodConfig": [{"name": [{}], "retrypolicies": {}}]}`:                            "unknown field",
		`{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 1}}]}`:              "retry policy",
		`{"methodConfig": [{"name": [{}], "timeout": "1 s"}]}`:                               "1 s",
		`{"methodConfig": [{"name": [{"method": "Roll"}]}]}`:                                 "service",
		`{"methodConfig": [], "retryThrottling": {"maxTokens": 5000, "tokenRatio": 1}}`:      "maxTokens",
		`{"x": "` + strings.Repeat("long ", 1000) + `"}`:                                     "unknown field",
		`{"methodConfig": [{"name": [{}], "hedgingPolicy": {"maxAttempts": 2}}]}`:            "hedgingPolicy",
		`{"loadBalancingConfig": [{"random_subsetting_experimental": {"childPolicy": []}}]}`: "subset",
		`{"loadBalancingConfig": [{"consistent_hash": {"loadFactor": 0.5}}]}`:                "loadFactor",
	} {
		err := channel.ValidateServiceConfig(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.200s: %v, want ...%s...", text, err, want)
		}
		if err != nil && len(err.Error()) > 400 {
			t.Errorf("%.200s: an error of %d bytes", text, len(err.Error()))
		}
	}
}

func TestDNSServersThatAreNoHostAndPortAreRefused(t *testing.T) {
	for _, server := range []string{"", "10.96.0.10:53", "[::1]:5353", "dns.example:53"} {
		if err := (channel.DNS{Server: server}).Validate(); err != nil {
			t.Errorf("%q: %v", server, err)
		}
	}
	for _, server := range []string{"10.96.0.10", ":53", "x:dns", "x:99999", "::1", "a:b:c"} {
		if err := (channel.DNS{Server: server}).Validate(); err == nil || !strings.Contains(err.Error(), server) {
			t.Errorf("%q: %v", server, err)
		}
	}
}

// questions are what a DNS server was asked.
type questions struct {
	mu    sync.Mutex
	types map[string]int
}

func (q *questions) ServeDNS(w dns.ResponseWriter, request *dns.Msg) {
	question := request.Question[0]
	q.mu.Lock()
	q.types[dns.TypeToString[question.Qtype]]++
	q.mu.Unlock()
	answer := new(dns.Msg)
	answer.SetReply(request)
	if question.Name != "rng-headless.lab.test." {
		answer.Rcode = dns.RcodeNameError
	} else if question.Qtype == dns.TypeA {
		answer.Answer = append(answer.Answer, &dns.A{
			Hdr: dns.RR_Header{Name: question.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 5}, A: net.IPv4(127, 0, 0, 1),
		})
	}
	_ = w.WriteMsg(answer)
}

func TestNamesAreLookedUpAtTheDNSServerThatWasGiven(t *testing.T) {
	system := net.DefaultResolver
	t.Cleanup(func() {
		net.DefaultResolver = system
		channel.DNS{MinResolutionInterval: 30 * time.Second}.Apply()
	})

	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked := &questions{types: map[string]int{}}
	started := make(chan struct{})
	names := &dns.Server{PacketConn: packets, Handler: asked, NotifyStartedFunc: func() { close(started) }}
	var serving sync.WaitGroup
	serving.Go(func() { _ = names.ActivateAndServe() })
	t.Cleanup(func() {
		_ = names.Shutdown()
		serving.Wait()
	})
	<-started

	channel.DNS{Server: packets.LocalAddr().String(), MinResolutionInterval: time.Second}.Apply()
	backend, _ := start(t, &pod{names: []string{"rng-0"}})
	conn, err := channel.New(channel.Strategy{
		Target:        "dns:///rng-headless.lab.test." + backend[strings.LastIndex(backend, ":"):],
		ServiceConfig: `{"loadBalancingConfig": [{"round_robin": {}}]}`,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{}); err != nil {
		t.Fatal(err)
	}

	asked.mu.Lock()
	defer asked.mu.Unlock()
	if asked.types["A"] == 0 || asked.types["TXT"] != 0 || asked.types["SRV"] != 0 {
		t.Errorf("the DNS server was asked for %v", asked.types)
	}
}

func TestAChannelOfABadStrategyIsAnError(t *testing.T) {
	if _, err := channel.New(channel.Strategy{Target: "dns:///rng:8081", ServiceConfig: "{"}); err == nil {
		t.Error("a service config that is not JSON was taken")
	}
}
