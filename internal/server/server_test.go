package server_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/evenkeel/evenkeel/internal/config"
	rngv1 "github.com/evenkeel/evenkeel/proto/rng/v1"
)

func TestAPanicIsInternalForThatRPCAlone(t *testing.T) {
	p := start(t)
	rng := rngv1.NewRngServiceClient(p.dial())
	_, err := rng.Roll(t.Context(), &rngv1.RollRequest{Max: new(int64(-1))})
	if status.Code(err) != codes.Internal || strings.Contains(err.Error(), "asked to") {
		t.Errorf("a panic: %v, want INTERNAL that tells nothing", err)
	}
	if _, err := rng.Roll(t.Context(), &rngv1.RollRequest{Max: new(int64(0))}); err != nil {
		t.Errorf("the next RPC: %v", err)
	}
	if got := metric(t, p, `evenkeel_server_panics_total `); got != 1 {
		t.Errorf("panics counted: %v", got)
	}
}

func TestEveryResponseSaysWhoServed(t *testing.T) {
	p := start(t, "--pod-name=rng-7", "--node-name=node-2", "--zone=z1")
	rng := rngv1.NewRngServiceClient(p.dial())
	check := func(name string, md metadata.MD) {
		t.Helper()
		for key, want := range map[string]string{
			"x-served-by": "rng-7", "x-served-by-node": "node-2", "x-served-by-zone": "z1",
		} {
			if got := md.Get(key); len(got) != 1 || got[0] != want {
				t.Errorf("%s: %s is %q, want %q", name, key, got, want)
			}
		}
	}
	var header, trailer metadata.MD
	if _, err := rng.Roll(t.Context(), &rngv1.RollRequest{Max: new(int64(0))}, grpc.Header(&header)); err != nil {
		t.Error(err)
	}
	check("the header of an answer", header)
	if _, err := rng.Roll(t.Context(), &rngv1.RollRequest{Max: new(int64(-1))}, grpc.Trailer(&trailer)); err == nil {
		t.Error("no error")
	}
	check("the trailer of an error", trailer)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := rng.RollStream(ctx, &rngv1.RollStreamRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if header, err = stream.Header(); err != nil {
		t.Fatal(err)
	}
	check("the header of a stream", header)
}

func TestAnErrorOfTheServerCanBeRetried(t *testing.T) {
	p := start(t)
	const retries = `{"methodConfig":[{"name":[{}],"retryPolicy":{"maxAttempts":3,"initialBackoff":"0.001s",
		"maxBackoff":"0.001s","backoffMultiplier":1,"retryableStatusCodes":["INTERNAL"]}}]}`
	cc, err := grpc.NewClient("passthrough:///"+p.grpc,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultServiceConfig(retries))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cc.Close() }()
	_, err = rngv1.NewRngServiceClient(cc).Roll(t.Context(), &rngv1.RollRequest{Max: new(int64(-1))})
	if status.Code(err) != codes.Internal {
		t.Error(err)
	}
	if got := metric(t, p, `evenkeel_server_panics_total `); got != 3 {
		t.Errorf("%v attempts reached the handler, want 3", got)
	}
}

func TestAConnectionPastItsAgeIsReplacedWithoutAFailure(t *testing.T) {
	p := start(t, "--max-connection-age=200ms", "--max-connection-age-grace=10s")
	rng := rngv1.NewRngServiceClient(p.dial())
	for begin := time.Now(); time.Since(begin) < time.Second; {
		if _, err := rng.Roll(t.Context(), &rngv1.RollRequest{Max: new(int64(5))}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBadSettingsAreRefusedInOneLineWithStatus2(t *testing.T) {
	for _, test := range []struct{ arg, want string }{
		{"--port=99999", "--port: 99999 is out of range: give 0 to 65535"},
		{"--port=x", `--port: "x" is not a whole number`},
		{"--admin-port=-1", "--admin-port: -1 is out of range"},
		{"--bind-address=localhost", `--bind-address: "localhost" is not an IP address`},
		{"--max-connection-age=10", `--max-connection-age: "10" is not a duration`},
		{"--drain-timeout=-1s", `--drain-timeout: "-1s" is negative`},
		{"--keepalive-time=1ms", "--keepalive-time: 1ms is out of range: give 1s to 2h0m0s"},
		{"--log-level=loud", `--log-level must be one of "debug","info","warn","error" but got "loud"`},
		{"--log-format=xml", `--log-format must be one of "json","text" but got "xml"`},
		{"--otel-traces-sampler-arg=2", "--otel-traces-sampler-arg: 2 is out of range: give 0 to 1"},
		{"--otel-exporter-otlp-endpoint=jaeger", `--otel-exporter-otlp-endpoint: "jaeger" is not an endpoint`},
		{"--no-such-flag", "unknown flag --no-such-flag"},
		{"argument", "unexpected argument argument"},
	} {
		t.Run(test.arg, func(t *testing.T) { refused(t, test.want, nil, test.arg) })
	}
	t.Run("environment", func(t *testing.T) {
		refused(t, `"soon" is not a duration`, []string{"MAX_CONNECTION_AGE=soon"})
	})
}

// refused runs a server that must not start.
func refused(t *testing.T, want string, env []string, args ...string) {
	t.Helper()
	cmd := exec.Command(testBinary(), args...)
	cmd.Env = append(cmd.Environ(), append(env, beServer+"=1")...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	_ = cmd.Run() // its status is looked at below
	line := strings.TrimSpace(stderr.String())
	if cmd.ProcessState.ExitCode() != config.ExitUsage || strings.Contains(line, "\n") || !strings.Contains(line, want) {
		t.Errorf("exit %d: %s\nwant %d and one line with %s", cmd.ProcessState.ExitCode(), line, config.ExitUsage, want)
	}
}

// awaitStarted waits until the server says that it has begun n RPCs of rng.
func awaitStarted(t *testing.T, p *process, n float64) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if metric(t, p, `grpc_server_call_started_total{grpc_method="rng.v1.RngService/Roll"} `) >= n {
			return
		}
	}
	t.Fatal("the RPC does not reach the server")
}

// metric scrapes the value of the first sample that begins with prefix; 0 if none.
func metric(t *testing.T, p *process, prefix string) float64 {
	t.Helper()
	response, err := http.Get(p.url("/metrics"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	sample := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(prefix) + `(.*)$`).FindSubmatch(body)
	if sample == nil {
		return 0
	}
	value, err := strconv.ParseFloat(string(sample[1]), 64)
	if err != nil {
		t.Fatal(err)
	}

	return value
}
