package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/evenkeel/evenkeel/internal/loadreport"
	"github.com/evenkeel/evenkeel/internal/servedby"
	whereamiv1 "github.com/evenkeel/evenkeel/proto/whereami/v1"
	"github.com/evenkeel/evenkeel/services/client/status"
)

// running is the client, driving.
type running struct {
	*process

	base string // of the admin port
	door string // address of the front door over gRPC, if it is open
	log  *bufio.Reader
	rest sync.WaitGroup
}

// start starts the client and waits until its admin port is open.
func start(t *testing.T, args ...string) *running {
	t.Helper()
	p := &running{process: command(t, nil, append([]string{"--admin-port=0", "--bind-address=127.0.0.1"}, args...)...)}
	p.Stderr = nil
	stderr, err := p.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	p.log = bufio.NewReader(stderr)
	for p.base == "" {
		line, err := p.log.ReadBytes('\n')
		if err != nil {
			t.Fatalf("the log ended: %v %s", err, line)
		}
		var entry struct{ AdminAddress, GRPC string }
		if err := json.Unmarshal(line, &entry); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if entry.GRPC != "" {
			p.door = entry.GRPC
		}
		if entry.AdminAddress != "" {
			p.base = "http://" + entry.AdminAddress
		}
	}
	p.rest.Go(func() { _, _ = io.Copy(&p.stderr, p.log) })

	return p
}

func (p *running) get(t *testing.T, path string) *http.Response {
	t.Helper()
	response, err := http.Get(p.base + path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		response.Body.Close()
		http.DefaultClient.CloseIdleConnections()
	})

	return response
}

// wait waits for the end and returns the exit status and the summary.
func (p *running) wait() (int, string) {
	p.rest.Wait()
	_ = p.Wait() // the status says it

	return p.ProcessState.ExitCode(), p.stdout.String()
}

func TestTheClientDrivesReportsAndEndsWellAtASignal(t *testing.T) {
	address := serve(t)
	p := start(t, "--rng-target="+address, "--geoip-target="+address, "--rng-rate=200", "--geoip-rate=50",
		"--timeout=20s", "--keys=uniform", `--rng-service-config={"loadBalancingConfig": [{"round_robin": {}}]}`)

	if r := p.get(t, "/readyz"); r.StatusCode != http.StatusOK {
		t.Errorf("/readyz: %s", r.Status)
	}
	frames := map[string]int64{}
	lines := bufio.NewScanner(p.get(t, "/events").Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() && (frames["rng"] < 100 || frames["geoip"] < 25) {
		var f loadreport.Frame
		if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		frames[f.Service] += f.RPCs
		var keyed int64
		for _, pod := range f.Pods {
			for _, n := range pod.Keys {
				keyed += n
			}
		}
		if keyed != f.RPCs {
			t.Errorf("%d of %d RPCs had a key", keyed, f.RPCs)
		}
		// One without RPCs is of before the first, and there may be no connection yet.
		if f.Failed > 0 || (f.RPCs > 0 && (f.Pods[0].Name != f.Service+"-0" || f.Connections != 1)) {
			t.Errorf("%s", lines.Text())
		}
	}
	var report status.Report
	if err := json.NewDecoder(p.get(t, "/report").Body).Decode(&report); err != nil {
		t.Fatal(err)
	}
	if len(report.Services) != 2 || report.Services[0].Service != "rng" || report.Services[0].RPCs < 100 || report.Services[1].Rate != 50 || report.Services[1].Keys == nil {
		t.Errorf("report: %+v", report)
	}
	if page, _ := io.ReadAll(p.get(t, "/").Body); !strings.Contains(string(page), "<h2>geoip</h2>") {
		t.Errorf("page: %s", page)
	}
	metrics, _ := io.ReadAll(p.get(t, "/metrics").Body)
	for _, want := range []string{`evenkeel_client_rpcs_total{code="OK",service="rng"}`, "evenkeel_client_connections", "go_goroutines"} {
		if !strings.Contains(string(metrics), want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
	var answer struct {
		Number   int64
		ServedBy map[string]string
	}
	if err := json.NewDecoder(p.get(t, "/api/whereami?ip=8.8.8.8").Body).Decode(&answer); err != nil || answer.ServedBy["geoip"] != "geoip-0" {
		t.Errorf("whereami: %+v %v", answer, err)
	}
	if r := p.get(t, "/nothing"); r.StatusCode != http.StatusNotFound {
		t.Errorf("/nothing: %s", r.Status)
	}

	events := p.get(t, "/events")
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, events.Body); err != nil {
		t.Errorf("the stream of events did not end well: %v", err)
	}
	code, summary := p.wait()
	if code != 0 || strings.Count(summary, "\n") != 5 || !strings.Contains(summary, "geoip keys: 1000, uniform, in x-user-id") {
		t.Errorf("exit %d\n%s%s", code, summary, p.stderr.String())
	}
}

func TestTheFrontDoorIsOpenByGRPCToo(t *testing.T) {
	address := serve(t)
	p := start(t, "--port=0", "--pod-name=client-0", "--rng-target="+address, "--geoip-target="+address, "--rate=1", "--timeout=30s")
	conn, err := grpc.NewClient("passthrough:///"+p.door, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	var header metadata.MD
	answer, err := whereamiv1.NewWhereamiServiceClient(conn).Locate(t.Context(), &whereamiv1.LocateRequest{}, grpc.Header(&header))
	if err != nil {
		t.Fatal(err)
	}
	if answer.GetPlace().GetAddress() != "127.0.0.1" || answer.GetServedBy()["geoip"] != "geoip-0" || servedby.PodOf(header) != "client-0" {
		t.Errorf("%v, from %q", answer, header)
	}

	// Whoever watches its health hears of the end.
	watching, stop := context.WithCancel(t.Context())
	defer stop()
	watch, err := health.NewHealthClient(conn).Watch(watching, &health.HealthCheckRequest{Service: "whereami.v1.WhereamiService"})
	if err != nil {
		t.Fatal(err)
	}
	if now, err := watch.Recv(); err != nil || now.GetStatus() != health.HealthCheckResponse_SERVING {
		t.Errorf("%v %v", now, err)
	}
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if now, err := watch.Recv(); err != nil || now.GetStatus() != health.HealthCheckResponse_NOT_SERVING {
		t.Errorf("%v %v", now, err)
	}
	stop()
	if code, _ := p.wait(); code != 0 {
		t.Errorf("exit %d: %s", code, p.stderr.String())
	}
}

func TestWithNobodyThereTheClientIsReadyAndSaysWhatFails(t *testing.T) {
	p := start(t, "--rng-target=127.0.0.1:1", "--rate=50")
	if r := p.get(t, "/readyz"); r.StatusCode != http.StatusOK {
		t.Errorf("/readyz: %s", r.Status)
	}
	frames := bufio.NewScanner(p.get(t, "/events").Body)
	for frames.Scan() && !strings.Contains(frames.Text(), "UNAVAILABLE") {
	}
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	code, summary := p.wait()
	if code != 0 || !strings.Contains(summary, "rng failed: UNAVAILABLE ") || !strings.Contains(summary, "connection refused") {
		t.Errorf("exit %d\n%s%s", code, summary, p.stderr.String())
	}
}

func TestWhatAResolverHasToSayIsInTheProcesssLog(t *testing.T) {
	p := start(t, "--rng-target=srv:///rng.test:grpc", "--dns-server=127.0.0.1:1", "--rate=50")
	frames := bufio.NewScanner(p.get(t, "/events").Body)
	for frames.Scan() && !strings.Contains(frames.Text(), "UNAVAILABLE") {
	}
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.wait()
	said := false
	for line := range strings.Lines(p.stderr.String()) {
		var entry struct{ Service, Level, Target string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Service != "client" {
			t.Errorf("not a line of the client's log: %s", line)
		}
		said = said || (entry.Level == "WARN" && strings.Contains(entry.Target, "rng.test"))
	}
	if !said {
		t.Errorf("the resolver has said nothing: %s", p.stderr.String())
	}
}

func TestAfterItsDurationAClosedLoopEnds(t *testing.T) {
	begun := time.Now()
	p := start(t, "--rng-target="+serve(t), "--rate=0", "--concurrency=2", "--duration=500ms")
	code, summary := p.wait()
	if d := time.Since(begun); code != 0 || d < 500*time.Millisecond || d > 30*time.Second || !strings.Contains(summary, "rng") {
		t.Errorf("exit %d after %v\n%s%s", code, d, summary, p.stderr.String())
	}
}

func TestAPortThatIsTakenIsAnErrorThatNamesIt(t *testing.T) {
	p := start(t, "--rng-target=127.0.0.1:1", "--rate=1")
	defer func() {
		_ = p.Process.Signal(syscall.SIGINT)
		p.wait()
	}()
	port := p.base[strings.LastIndex(p.base, ":")+1:]
	for flag, want := range map[string]string{"--admin-port=": "client: admin port: ", "--admin-port=0 --port=": "client: gRPC port: "} {
		args := append([]string{"--rng-target=127.0.0.1:1", "--bind-address=127.0.0.1"}, strings.Fields(flag+port)...)
		code, _, stderr := run(t, nil, args...)
		if code != 1 || !strings.Contains(stderr, want) || !strings.Contains(stderr, fmt.Sprint(":", port)) {
			t.Errorf("exit %d: %s", code, stderr)
		}
	}
}
