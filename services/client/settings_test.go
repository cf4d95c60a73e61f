package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/evenkeel/evenkeel/internal/config"
	"github.com/evenkeel/evenkeel/services/client/keys"
)

// parse reads settings as main does, without ending the process.
func parse(t *testing.T, args ...string) (*settings, error) {
	t.Helper()
	var s settings
	_, err := config.Parse(args, &s, program(), &bytes.Buffer{}, &bytes.Buffer{}, func(code int) {
		t.Errorf("%v: exit %d", args, code)
	})

	return &s, err
}

const target = "--rng-target=dns:///rng:8081"

func TestABadFlagIsOneLineThatNamesIt(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for _, test := range []struct {
		want string
		args []string
	}{
		{"--rng-target or --geoip-target", nil},
		{"--rng-target or --geoip-target", []string{"run", "--rate=5"}},
		{`--rng-target: "rng"`, []string{"--rng-target=rng"}},
		{`--geoip-target: "dsn:///x:1"`, []string{"--geoip-target=dsn:///x:1"}},
		{"--rng-target: \"kubernetes:///rng:grpc\": this is not a pod", []string{"--rng-target=kubernetes:///rng:grpc"}},
		{"--rng-service-config is of no use", []string{"--geoip-target=geoip:9200", "--rng-service-config={}"}},
		{"--geoip-service-config", []string{"--geoip-target=geoip:9200", "--geoip-service-config={"}},
		{`--rng-service-config`, []string{target, `--rng-service-config={"loadBalancingConfig": [{"roundrobin": {}}]}`}},
		{"--timeout: 2m0s", []string{target, "--timeout=2m"}},
		{"--timeout: 0s", []string{target, "--timeout=0s"}},
		{`--timeout: "1"`, []string{target, "--timeout=1"}},
		{"--kubernetes-api", []string{target, "--kubernetes-api=10.0.0.1"}},
		{"--kubernetes-token-file", []string{target, "--kubernetes-api=http://10.0.0.1", "--kubernetes-token-file=/no/such/file"}},
		{"--kubernetes-ca-file", []string{target, "--kubernetes-ca-file=/no/such/file"}},
		{"--dns-server", []string{target, "--dns-server=10.96.0.10"}},
		{"--dns-min-resolution-interval", []string{target, "--dns-min-resolution-interval=-1s"}},
		{"--rate", []string{target, "--rate=-1"}},
		{"--rate", []string{target, "--rate=many"}},
		{"--rate: NaN", []string{target, "--rate=NaN"}},
		{"--rate: +Inf", []string{target, "--rate=Inf"}},
		{"--rng-rate: 1000000", []string{target, "--rng-rate=1e6"}},
		{"--geoip-rate: 1e-09", []string{target, "--geoip-rate=1e-9"}},
		{"--concurrency: 0", []string{target, "--concurrency=0"}},
		{"--concurrency", []string{target, "--concurrency=1.5"}},
		{"--max-in-flight: 0", []string{target, "--max-in-flight=0"}},
		{`--geoip-addresses: "x"`, []string{target, "--geoip-addresses=8.8.8.8,x"}},
		{`--geoip-addresses: "fe80::1%lo"`, []string{target, "--geoip-addresses=fe80::1%lo"}},
		{`--keys must be one of "none","uniform","zipf" but got "some"`, []string{target, "--keys=some"}},
		{"--key-count: 0 is out of range", []string{target, "--key-count=0"}},
		{"--key-skew: 1 is out of range", []string{target, "--key-skew=1"}},
		{"--keepalive-time: 5s is out of range", []string{target, "--keepalive-time=5s"}},
		{"--keepalive-timeout: 0s is out of range", []string{target, "--keepalive-timeout=0s"}},
		{`--key-header: "X-User-Id" has characters`, []string{target, "--key-header=X-User-Id"}},
		{"--frame: 1ms", []string{target, "--frame=1ms"}},
		{"--frame: 11s", []string{target, "--frame=11s"}},
		{"--duration", []string{target, "--duration=soon"}},
		{"--bind-address", []string{target, "--bind-address=localhost"}},
		{"--admin-port: 65536", []string{target, "--admin-port=65536"}},
		{"--inspect-port: 65536", []string{target, "--inspect-port=65536"}},
		{"--inspect-port: 8080 is another port of this process", []string{target, "--inspect-port=8080"}},
		{"--inspect-port: 9300 is another port of this process", []string{target, "--port=9300", "--inspect-port=9300"}},
		{`--port: "grpc" is not a whole number`, []string{target, "--port=grpc"}},
		{"--port: 65536 is out of range: give 0 to 65535", []string{target, "--port=65536"}},
		{"--admin-port: 8080 is the gRPC port too", []string{target, "--port=8080"}},
		{"--log-level", []string{target, "--log-level=loud"}},
		{"--log-format", []string{target, "--log-format=xml"}},
		{"--otel-exporter-otlp-endpoint", []string{target, "--otel-exporter-otlp-endpoint=jaeger"}},
		{"--otel-traces-sampler-arg", []string{target, "--otel-traces-sampler-arg=2"}},
		{"--frobnicate", []string{target, "--frobnicate"}},
		{"frobnicate", []string{"frobnicate"}},
		{"--rng-target", []string{"roll"}},
		{"--geoip-target", []string{"lookup", "8.8.8.8"}},
		{"address", []string{"lookup", "--geoip-target=geoip:9200"}},
		{"--min", []string{"roll", target, "--min=a"}},
		{"--count", []string{"roll", target, "--count=-1"}},
	} {
		_, err := parse(t, test.args...)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v, want ...%s...", test.args, err, test.want)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\n\r") {
			t.Errorf("%q: more than a line: %q", test.args, err)
		}
	}
}

func TestABadFlagEndsTheProcessWithStatus2AndOneLine(t *testing.T) {
	code, stdout, stderr := run(t, nil, "--rng-target=dsn:///rng:8081")
	if code != 2 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "client: --rng-target: ") {
		t.Errorf("exit %d, %q, %q", code, stdout, stderr)
	}
}

func TestSettingsComeFromFlagsAndFromTheEnvironment(t *testing.T) {
	t.Setenv("RNG_TARGET", "dns:///rng:8081")
	t.Setenv("RNG_SERVICE_CONFIG", `{"loadBalancingConfig": [{"round_robin": {}}]}`)
	t.Setenv("GEOIP_TARGET", "geoip:9200")
	t.Setenv("GEOIP_RATE", "0")
	t.Setenv("RATE", "7.5")
	t.Setenv("TIMEOUT", "250ms")
	t.Setenv("KEYS", "zipf")
	t.Setenv("KEY_COUNT", "300")
	t.Setenv("KEY_SKEW", "1.5")
	t.Setenv("KEY_HEADER", "x-tenant")
	t.Setenv("DNS_MIN_RESOLUTION_INTERVAL", "5s")
	t.Setenv("PORT", "9300")
	s, err := parse(t, "--geoip-target=geoip.other:9200")
	if err != nil {
		t.Fatal(err)
	}
	if s.rng().Target != "dns:///rng:8081" || s.rng().ServiceConfig == "" || s.geoip().Target != "geoip.other:9200" {
		t.Errorf("strategies: %+v", s.Strategies)
	}
	if s.Run.Port == nil || *s.Run.Port != 9300 {
		t.Errorf("the gRPC port: %v", s.Run.Port)
	}
	if s.Run.rngRate() != 7.5 || s.Run.geoipRate() != 0 || s.Timeout.String() != "250ms" || s.dns().MinResolutionInterval.String() != "5s" {
		t.Errorf("%+v", s)
	}
	if want := (keys.Config{Keys: "zipf", KeyCount: 300, KeySkew: 1.5, KeyHeader: "x-tenant"}); s.Run.Keys != want {
		t.Errorf("keys: %+v, want %+v", s.Run.Keys, want)
	}
}

func TestTheDefaultsAreThoseThatAreDocumented(t *testing.T) {
	s, err := parse(t, target)
	if err != nil {
		t.Fatal(err)
	}
	r := s.Run
	if r.rngRate() != 100 || r.Concurrency != 64 || r.MaxInFlight != 10_000 || s.Timeout.String() != "1s" || r.Frame.String() != "100ms" ||
		r.Port != nil || r.AdminPort != 8080 || s.DNSMinResolutionInterval.String() != "30s" || len(r.GeoIPAddresses) != len(resolvers) {
		t.Errorf("%+v", s)
	}
	if want := (keys.Config{Keys: "none", KeyCount: 1000, KeySkew: 1.1, KeyHeader: "x-user-id"}); r.Keys != want {
		t.Errorf("keys: %+v, want %+v", r.Keys, want)
	}
}

func TestHelpNamesTheEnvironmentVariables(t *testing.T) {
	code, stdout, _ := run(t, nil, "run", "--help")
	if code != 0 {
		t.Errorf("exit %d", code)
	}
	for _, want := range []string{"$RNG_TARGET", "$GEOIP_SERVICE_CONFIG", "$RATE", "($PORT)", "whereami.v1.WhereamiService", "$KUBERNETES_API", "$MAX_IN_FLIGHT", "$KEYS", "$KEY_HEADER"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %s in the help", want)
		}
	}
	if os.Getenv(clientVariable) != "" {
		t.Error("the test is the client")
	}
}
