package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	geoipv1 "github.com/evenkeel/evenkeel/proto/geoip/v1"
	rngv1 "github.com/evenkeel/evenkeel/proto/rng/v1"
)

// clientVariable, in the environment, makes the test binary the client.
const clientVariable = "EVENKEEL_CLIENT_TEST_IS_CLIENT"

func TestMain(m *testing.M) {
	if os.Getenv(clientVariable) != "" {
		main()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// process is the client as a process.
type process struct {
	*exec.Cmd

	stdout, stderr bytes.Buffer
}

func command(t *testing.T, environment []string, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	p := &process{Cmd: exec.CommandContext(ctx, self, args...)}
	p.Env = append([]string{clientVariable + "=1", "PATH=" + os.Getenv("PATH")}, environment...)
	p.Stdout, p.Stderr = &p.stdout, &p.stderr

	return p
}

// run runs the client to its end and returns its exit status.
func run(t *testing.T, environment []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	p := command(t, environment, args...)
	if err := p.Run(); err != nil && p.ProcessState == nil {
		t.Fatal(err)
	}

	return p.ProcessState.ExitCode(), p.stdout.String(), p.stderr.String()
}

// backend is rng and geoip on one port.
type backend struct {
	rngv1.UnimplementedRngServiceServer
	geoipv1.UnimplementedGeoipServiceServer
}

func (backend) Roll(ctx context.Context, r *rngv1.RollRequest) (*rngv1.RollResponse, error) {
	if err := grpc.SetHeader(ctx, metadata.Pairs("x-served-by", "rng-0")); err != nil {
		return nil, err
	}
	if r.GetCount() > 1000 {
		return nil, status.Error(codes.InvalidArgument, "count: 1 to 1000\nplease")
	}
	values := make([]int64, r.GetCount())
	for i := range values {
		values[i] = r.GetMax()
	}

	return &rngv1.RollResponse{Values: values}, nil
}

func (backend) Lookup(ctx context.Context, r *geoipv1.LookupRequest) (*geoipv1.LookupResponse, error) {
	if err := grpc.SetHeader(ctx, metadata.Pairs("x-served-by", "geoip-0")); err != nil {
		return nil, err
	}
	if strings.HasPrefix(r.GetAddress(), "10.") {
		return nil, status.Errorf(codes.NotFound, "no record for %s", r.GetAddress())
	}

	return &geoipv1.LookupResponse{
		Address: r.GetAddress(), Network: "8.8.8.0/24", Country: &geoipv1.Country{IsoCode: "US", Name: "United States"},
		City: &geoipv1.City{Name: "Mountain View"}, Location: &geoipv1.Location{Latitude: 37.386, Longitude: -122.0838},
		AutonomousSystem: &geoipv1.AutonomousSystem{Number: 15169, Organization: "Google LLC"},
		Database:         &geoipv1.Database{Type: "Test-City", BuildTime: &timestamppb.Timestamp{Seconds: 1.7e9}},
	}, nil
}

// serve starts a backend and returns its target.
func serve(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	rngv1.RegisterRngServiceServer(server, backend{})
	geoipv1.RegisterGeoipServiceServer(server, backend{})
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		server.Stop()
		serving.Wait()
	})

	return "dns:///" + listener.Addr().String()
}
