package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/evenkeel/evenkeel/internal/server"
	"github.com/evenkeel/evenkeel/internal/telemetry"
	geoipv1 "github.com/evenkeel/evenkeel/proto/geoip/v1"
	"github.com/evenkeel/evenkeel/services/geoip/database/databasetest"
)

// process is the service with the whole kit around it, as in main.
type process struct {
	*testing.T

	kit    *server.Server
	geoip  geoipv1.GeoipServiceClient
	health grpc_health_v1.HealthClient
}

func start(t *testing.T, path string) *process {
	t.Helper()
	tel, err := telemetry.Start(t.Context(), telemetry.Identity{Service: "geoip"}, telemetry.Config{LogLevel: "error"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	kit, err := server.New(server.Config{
		BindAddress: "127.0.0.1", PodName: "geoip-0", DrainTimeout: deadline, KeepaliveTime: time.Minute, KeepaliveTimeout: time.Minute,
	}, tel)
	if err != nil {
		t.Fatal(err)
	}
	ctx, terminate := context.WithCancel(t.Context())
	stop, err := register(ctx, kit, path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- kit.Run(ctx) }()
	t.Cleanup(func() {
		terminate()
		if err := <-done; err != nil {
			t.Error(err)
		}
		stop()
		if err := tel.Shutdown(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	})
	conn := dial(t, kit.Addr())

	return &process{t, kit, geoipv1.NewGeoipServiceClient(conn), grpc_health_v1.NewHealthClient(conn)}
}

func (p *process) country(address string) string {
	p.Helper()
	response, err := p.geoip.Lookup(testContext(p), &geoipv1.LookupRequest{Address: address}, grpc.WaitForReady(true))
	if err != nil {
		p.Fatal(err)
	}

	return response.GetCountry().GetIsoCode()
}

// metrics reads the lines about geoip from the admin port.
func (p *process) metrics() string {
	p.Helper()
	req, err := http.NewRequestWithContext(testContext(p), http.MethodGet, "http://"+p.kit.Admin.Addr().String()+"/metrics", nil)
	if err != nil {
		p.Fatal(err)
	}
	req.Close = true
	response, err := http.DefaultClient.Do(req)
	if err != nil {
		p.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		p.Fatal(err)
	}
	var ours []string
	for line := range strings.Lines(string(body)) {
		if strings.HasPrefix(line, "evenkeel_geoip_") {
			ours = append(ours, line)
		}
	}

	return strings.Join(ours, "")
}

// until waits for a condition that comes true by itself.
func (p *process) until(what string, condition func() bool) {
	p.Helper()
	ctx := testContext(p)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			p.Fatalf("%s: not within %v\n%s", what, deadline, p.metrics())
		}
	}
}

func TestTheEmbeddedDatabaseServesWhenThereIsNoOther(t *testing.T) {
	p := start(t, "")
	for address, want := range map[string]string{"8.8.8.8": "US", "193.0.6.139": "NL", "2001:4860:4860::8888": "US"} {
		if got := p.country(address); got != want {
			t.Errorf("%s is in %s, want %s", address, got, want)
		}
	}
	answer, err := p.health.Check(testContext(t), &grpc_health_v1.HealthCheckRequest{
		Service: geoipv1.GeoipService_ServiceDesc.ServiceName,
	})
	if err != nil || answer.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Errorf("health: %v, %v", answer, err)
	}
}

func TestAReloadIsServedAndARefusalIsCounted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "geo.mmdb")
	put := func(contents []byte) {
		if err := os.WriteFile(path+".new", contents, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	version := func(country string, age time.Duration) []byte {
		made := databasetest.Countries(map[string]string{"192.0.2.0/24": country})
		made.Built = databasetest.Built.Add(-age)

		return made.Bytes(t)
	}
	put(version("AA", time.Hour))
	p := start(t, path)
	if got := p.country("192.0.2.1"); got != "AA" {
		t.Fatalf("serves %s", got)
	}
	put([]byte("broken"))
	p.until("the refusal", func() bool {
		return strings.Contains(p.metrics(), `evenkeel_geoip_database_reloads_total{result="refused"} 1`)
	})
	if got := p.country("192.0.2.1"); got != "AA" {
		t.Errorf("serves %s after a refusal", got)
	}
	put(version("BB", 0))
	p.until("the reload", func() bool { return p.country("192.0.2.1") == "BB" })
	p.until("the metrics", func() bool {
		got := p.metrics()

		return strings.Contains(got, `evenkeel_geoip_database_reloads_total{result="loaded"} 1`) &&
			strings.Contains(got, "evenkeel_geoip_database_build_timestamp_seconds 1.781726061e+09")
	})
}

func TestLookupsAreCountedByTheirResult(t *testing.T) {
	p := start(t, "")
	stream, err := p.geoip.LookupStream(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&geoipv1.LookupStreamRequest{Addresses: []string{"8.8.8.8", "8.8.4.4", "10.0.0.1", "x", "y", "z"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	p.country("8.8.8.8")
	got := p.metrics()
	for _, want := range []string{
		`evenkeel_geoip_lookups_total{result="found"} 3`,
		`evenkeel_geoip_lookups_total{result="not_found"} 1`,
		`evenkeel_geoip_lookups_total{result="invalid"} 3`,
		`evenkeel_geoip_lookups_total{result="failed"} 0`,
		"evenkeel_geoip_database_size_bytes 5.187719e+06",
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
}

func TestADatabaseThatCannotBeReadIsAnErrorAtTheStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "geo.mmdb")
	if err := os.WriteFile(path, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := register(t.Context(), &server.Server{Logger: slog.New(slog.DiscardHandler)}, path)
	if err == nil || !strings.Contains(err.Error(), path+": not a MaxMind DB file") {
		t.Errorf("%v", err)
	}
}
