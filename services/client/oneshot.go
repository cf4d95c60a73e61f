package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/evenkeel/evenkeel/internal/servedby"
	geoipv1 "github.com/evenkeel/evenkeel/proto/geoip/v1"
	rngv1 "github.com/evenkeel/evenkeel/proto/rng/v1"
	"github.com/evenkeel/evenkeel/services/client/channel"
)

// rollCommand asks rng once.
type rollCommand struct {
	Min   *int64 `placeholder:"INTEGER" help:"Smallest value that may be drawn; 1 without."`
	Max   *int64 `placeholder:"INTEGER" help:"Largest value that may be drawn; 6 without."`
	Count uint32 `default:"1" help:"How many values to draw, 1 to 1000."`
	JSON  bool   `help:"Print JSON." env:"-"`
}

// lookupCommand asks geoip.
type lookupCommand struct {
	Addresses []string `arg:"" name:"address" help:"IPv4 or IPv6 address, such as 8.8.8.8."`
	JSON      bool     `help:"Print JSON, a line for each address." env:"-"`
}

// served says who answered an RPC and how long it took.
type served struct {
	ServedBy  string  `json:"servedBy"`
	Address   string  `json:"address"`
	LatencyMs float64 `json:"latencyMs"`
}

func (s served) String() string {
	by := s.Address
	if s.ServedBy != "" {
		by = s.ServedBy + " at " + s.Address
	}

	return fmt.Sprintf("served by %s in %.1f ms", by, s.LatencyMs)
}

// once makes one RPC and says who served it. Its error is the status in one line.
func once(timeout time.Duration, call func(context.Context, ...grpc.CallOption) error) (served, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	var header metadata.MD
	var server peer.Peer
	begun := time.Now()
	if err := call(ctx, grpc.Header(&header), grpc.Peer(&server)); err != nil {
		s := status.Convert(err)

		return served{}, fmt.Errorf("%s: %s", code.Code(s.Code()), strings.Join(strings.Fields(s.Message()), " "))
	}
	who := served{LatencyMs: float64(time.Since(begun).Microseconds()) / 1000}
	if server.Addr != nil {
		who.Address = server.Addr.String()
	}
	who.ServedBy = servedby.PodOf(header)

	return who, nil
}

// Run prints what rng drew. kong calls it.
func (r *rollCommand) Run(s *Strategies) error {
	return withChannel(s, s.rng(), func(conn *grpc.ClientConn) error {
		return r.print(os.Stdout, conn, s.Timeout)
	})
}

func (r *rollCommand) print(w io.Writer, conn grpc.ClientConnInterface, timeout time.Duration) error {
	var answer *rngv1.RollResponse
	who, err := once(timeout, func(ctx context.Context, options ...grpc.CallOption) (err error) {
		request := &rngv1.RollRequest{Min: r.Min, Max: r.Max, Count: r.Count}
		answer, err = rngv1.NewRngServiceClient(conn).Roll(ctx, request, options...)

		return err
	})
	if err != nil {
		return fmt.Errorf("roll: %w", err)
	}
	if r.JSON {
		return json.NewEncoder(w).Encode(struct {
			Values []int64 `json:"values"`
			served
		}{answer.GetValues(), who})
	}
	values := fmt.Sprint(answer.GetValues())
	_, err = fmt.Fprintf(w, "%s\n%s\n", strings.Trim(values, "[]"), who)

	return err
}

// Run prints what geoip knows of each address. One that fails does not keep the
// others from being asked about. kong calls it.
func (l *lookupCommand) Run(s *Strategies) error {
	return withChannel(s, s.geoip(), func(conn *grpc.ClientConn) error {
		var failed []error
		for _, address := range l.Addresses {
			failed = append(failed, l.print(os.Stdout, conn, address, s.Timeout))
		}

		return errors.Join(failed...)
	})
}

func (l *lookupCommand) print(
	w io.Writer, conn grpc.ClientConnInterface, address string, timeout time.Duration,
) error {
	var answer *geoipv1.LookupResponse
	who, err := once(timeout, func(ctx context.Context, options ...grpc.CallOption) (err error) {
		request := &geoipv1.LookupRequest{Address: address}
		answer, err = geoipv1.NewGeoipServiceClient(conn).Lookup(ctx, request, options...)

		return err
	})
	if err != nil {
		return fmt.Errorf("lookup %q: %w", address, err)
	}
	if l.JSON {
		record, err := protojson.Marshal(answer)
		if err != nil {
			return fmt.Errorf("lookup %q: %w", address, err)
		}

		return json.NewEncoder(w).Encode(struct {
			Record json.RawMessage `json:"record"`
			served
		}{record, who})
	}
	_, err = fmt.Fprintf(w, "%s\n%s\n", describe(answer), who)

	return err
}

// describe puts what the database knows of an address on one line.
func describe(r *geoipv1.LookupResponse) string {
	parts := []string{r.GetAddress()}
	add := func(text string) {
		if text != "" {
			parts = append(parts, text)
		}
	}
	if n := r.GetNetwork(); n != "" {
		add("in " + n)
	}
	add(strings.TrimSpace(r.GetCountry().GetIsoCode() + " " + r.GetCountry().GetName()))
	add(r.GetCity().GetName())
	if l := r.GetLocation(); l != nil {
		add(fmt.Sprintf("%.4f, %.4f", l.GetLatitude(), l.GetLongitude()))
	}
	if as := r.GetAutonomousSystem(); as != nil {
		add(strings.TrimSpace(fmt.Sprintf("AS%d %s", as.GetNumber(), as.GetOrganization())))
	}
	if d := r.GetDatabase(); d != nil {
		add("(" + d.GetType() + ", built " + d.GetBuildTime().AsTime().Format(time.DateOnly) + ")")
	}

	return strings.Join(parts, "  ")
}

// withChannel makes a channel for one RPC or a few.
func withChannel(s *Strategies, strategy channel.Strategy, use func(*grpc.ClientConn) error) error {
	if err := s.apply(); err != nil {
		return err
	}
	conn, err := channel.New(strategy, s.keepalive().DialOption())
	if err != nil {
		return err
	}

	return errors.Join(use(conn), conn.Close())
}
