package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	geoipv1 "github.com/evenkeel/evenkeel/proto/geoip/v1"
	"github.com/evenkeel/evenkeel/services/geoip/database"
	"github.com/evenkeel/evenkeel/services/geoip/database/databasetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline is far beyond what any test needs: it ends one that hangs.
const deadline = 20 * time.Second

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	t.Cleanup(cancel)

	return ctx
}

// world has a network of each kind.
var world = databasetest.Database{
	Type: "Test-World",
	Records: map[string]mmdbtype.DataType{
		"192.0.2.0/24": databasetest.MaxMindCity(),
		"198.51.100.0/24": mmdbtype.Map{
			"autonomous_system_number":       mmdbtype.Uint32(64496),
			"autonomous_system_organization": mmdbtype.String("Example"),
		},
		"203.0.113.0/24":  mmdbtype.Map{"country_code": mmdbtype.String("NZ")},
		"203.0.113.66/32": mmdbtype.Map{"is_anycast": mmdbtype.Bool(true)},
		"2001:db8::/32":   mmdbtype.Map{"country_code": mmdbtype.String("FR"), "city": mmdbtype.String("Lyon")},
	},
}

// described is world as answers describe it.
var described = &geoipv1.Database{Type: "Test-World", BuildTime: timestamppb.New(databasetest.Built)}

func newService(t testing.TB, made databasetest.Database) *service {
	t.Helper()
	db, err := database.Open(made.Bytes(t))
	if err != nil {
		t.Fatal(err)
	}
	current := func() *database.Database { return db }

	return &service{
		current: current, metrics: newMetrics(prometheus.NewRegistry(), current), logger: slog.New(slog.DiscardHandler),
	}
}

// serve runs the service on a loopback port until the test ends.
func serve(t testing.TB, svc *service) geoipv1.GeoipServiceClient {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	geoipv1.RegisterGeoipServiceServer(srv, svc)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(listener) }()
	t.Cleanup(func() {
		srv.Stop()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})

	return geoipv1.NewGeoipServiceClient(dial(t, listener.Addr()))
}

func dial(t testing.TB, address net.Addr) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+address.String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})

	return conn
}

func TestAnAnswerHasWhatTheDatabaseHasAndNothingElse(t *testing.T) {
	client := serve(t, newService(t, world))
	for _, want := range []*geoipv1.LookupResponse{
		{
			Address: "192.0.2.7", Network: "192.0.2.0/24", Database: described,
			Country:  &geoipv1.Country{IsoCode: "GB", Name: "United Kingdom"},
			City:     &geoipv1.City{Name: "London", Subdivision: "England", PostalCode: "EC2V"},
			Location: &geoipv1.Location{Latitude: 51.5142, Longitude: -0.0931, AccuracyRadiusKm: 10, TimeZone: "Europe/London"},
		},
		{
			Address: "198.51.100.255", Network: "198.51.100.0/24", Database: described,
			AutonomousSystem: &geoipv1.AutonomousSystem{Number: 64496, Organization: "Example"},
		},
		{
			Address: "203.0.113.0", Network: "203.0.113.0/26", Database: described,
			Country: &geoipv1.Country{IsoCode: "NZ"},
		},
		{
			Address: "203.0.113.66", Network: "203.0.113.66/32", Database: described,
		},
		{
			Address: "2001:db8::1", Network: "2001:db8::/32", Database: described,
			Country: &geoipv1.Country{IsoCode: "FR"}, City: &geoipv1.City{Name: "Lyon"},
		},
	} {
		got, err := client.Lookup(testContext(t), &geoipv1.LookupRequest{Address: want.GetAddress()})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("%s: %s", want.GetAddress(), diff)
		}
	}
}

func TestAnIPv4MappedAddressIsAnsweredAsIPv4(t *testing.T) {
	client := serve(t, newService(t, world))
	got, err := client.Lookup(testContext(t), &geoipv1.LookupRequest{Address: "::ffff:203.0.113.1"})
	if err != nil || got.GetAddress() != "203.0.113.1" || got.GetCountry().GetIsoCode() != "NZ" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestAMalformedAddressIsInvalidArgumentWithTheFieldInItsDetails(t *testing.T) {
	client := serve(t, newService(t, world))
	_, err := client.Lookup(testContext(t), &geoipv1.LookupRequest{Address: "8.8.8.8:53"})
	st := status.Convert(err)
	const description = `"8.8.8.8:53" has a port: give an IPv4 or IPv6 address, such as 8.8.8.8 or 2001:4860:4860::8888`
	if st.Code() != codes.InvalidArgument || st.Message() != "address: "+description {
		t.Errorf("%v", err)
	}
	want := []any{&errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "address", Description: description}},
	}}
	if diff := cmp.Diff(want, st.Details(), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestAnAddressWithoutARecordIsNotFoundWithTheResourceInItsDetails(t *testing.T) {
	client := serve(t, newService(t, world))
	for sent, canonical := range map[string]string{
		"10.0.0.1": "10.0.0.1", "2001:DB9::0": "2001:db9::", "::ffff:10.0.0.1": "10.0.0.1",
	} {
		_, err := client.Lookup(testContext(t), &geoipv1.LookupRequest{Address: sent})
		st := status.Convert(err)
		message := `the database "Test-World" of 2026-06-17 has no record for ` + canonical
		if st.Code() != codes.NotFound || st.Message() != message {
			t.Errorf("%v", err)
		}
		want := []any{&errdetails.ResourceInfo{ResourceType: "IP address", ResourceName: canonical, Description: message}}
		if diff := cmp.Diff(want, st.Details(), protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestEachBatchIsAnsweredInItsOrderAndAnAddressFailsAlone(t *testing.T) {
	client := serve(t, newService(t, world))
	stream, err := client.LookupStream(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	// All batches first, then all answers: the order is the stream's, not the test's.
	batches := [][]string{
		{"203.0.113.1", "nonsense", "10.0.0.1", "2001:db8::1", ""},
		{},
		{"2001:db8::1", "203.0.113.1"},
	}
	for _, batch := range batches {
		if err := stream.Send(&geoipv1.LookupStreamRequest{Addresses: batch}); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	for _, want := range [][]string{{"NZ", "3 nonsense", "5 10.0.0.1", "FR", "3 "}, nil, {"FR", "NZ"}} {
		response, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, result := range response.GetResults() {
			if e := result.GetError(); e != nil {
				got = append(got, fmt.Sprintf("%d %s", e.GetCode(), e.GetAddress()))
				if e.GetMessage() == "" {
					t.Errorf("%v has no message", e)
				}
			} else {
				got = append(got, result.GetFound().GetCountry().GetIsoCode())
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last answer: %v", err)
	}
}

func TestABatchOfAThousandIsAnsweredAndALargerOneEndsTheStream(t *testing.T) {
	client := serve(t, newService(t, world))
	stream, err := client.LookupStream(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	batch := make([]string, 1000)
	for i := range batch {
		batch[i] = fmt.Sprintf("192.0.2.%d", i%256)
	}
	if err := stream.Send(&geoipv1.LookupStreamRequest{Addresses: batch}); err != nil {
		t.Fatal(err)
	}
	response, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	for i, result := range response.GetResults() {
		if result.GetFound().GetAddress() != batch[i] {
			t.Fatalf("result %d is for %v, want %s", i, result, batch[i])
		}
	}
	if n := len(response.GetResults()); n != 1000 {
		t.Errorf("%d results", n)
	}

	if err := stream.Send(&geoipv1.LookupStreamRequest{Addresses: append(batch, "8.8.8.8")}); err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	st := status.Convert(err)
	if st.Code() != codes.InvalidArgument || !strings.Contains(st.Message(), "addresses: 1001 in a batch: give 1 to 1000") {
		t.Errorf("%v", err)
	}
	want := []any{&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{
		Field: "addresses", Description: "1001 in a batch: give 1 to 1000",
	}}}}
	if diff := cmp.Diff(want, st.Details(), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

// Open rules this out as long as nobody writes into the database's memory, so the
// test does just that.
func TestADamagedDatabaseIsInternalAndNoFaultOfAnAddress(t *testing.T) {
	contents := world.Bytes(t)
	db, err := database.Open(contents)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		contents[i] = 0xff // the upper nodes of the tree: they point nowhere now
	}
	svc := newService(t, world)
	svc.current = func() *database.Database { return db }
	client := serve(t, svc)

	_, err = client.Lookup(testContext(t), &geoipv1.LookupRequest{Address: "2001:db8::1"})
	if status.Code(err) != codes.Internal || status.Convert(err).Message() != "the database is damaged" {
		t.Errorf("Lookup: %v", err)
	}
	stream, err := client.LookupStream(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&geoipv1.LookupStreamRequest{Addresses: []string{"x", "2001:db8::1"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Internal {
		t.Errorf("LookupStream: %v", err)
	}
}

func BenchmarkLookup(b *testing.B) {
	svc := newService(b, world)
	for name, address := range map[string]string{"country": "203.0.113.1", "city": "192.0.2.1"} {
		b.Run(name, func(b *testing.B) {
			req := &geoipv1.LookupRequest{Address: address}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := svc.Lookup(b.Context(), req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
