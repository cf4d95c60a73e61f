// Package whereami is the front door to the suite, over HTTP and gRPC: it asks geoip
// where an address is and rng for a number, so that one request makes one trace
// through three services.
package whereami

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	"github.com/evenkeel/evenkeel/internal/servedby"
	"github.com/evenkeel/evenkeel/internal/telemetry"
	geoipv1 "github.com/evenkeel/evenkeel/proto/geoip/v1"
	rngv1 "github.com/evenkeel/evenkeel/proto/rng/v1"
	whereamiv1 "github.com/evenkeel/evenkeel/proto/whereami/v1"
)

// maxAddressText is longer than any address, in bytes.
const maxAddressText = 64

// Door is the front door, whichever way a request comes.
type Door struct {
	// GeoIP and Rng are the channels to the services; nil for one that is not there.
	GeoIP, Rng grpc.ClientConnInterface
	// Timeout is how long both RPCs together may take.
	Timeout time.Duration
}

// serviceError is a failure of one service.
type serviceError struct {
	service string
	err     error
}

func (e serviceError) Error() string { return e.service + ": " + e.err.Error() }
func (e serviceError) Unwrap() error { return e.err }

// GRPCStatus is that of the service, with its details, and says which service it was.
func (e serviceError) GRPCStatus() *status.Status {
	failed := status.Convert(e.err).Proto()
	failed.Message = e.service + ": " + failed.GetMessage()

	return detailed(status.FromProto(failed), &errdetails.ErrorInfo{
		Reason: "SERVICE_FAILED", Domain: whereamiv1.WhereamiService_ServiceDesc.ServiceName,
		Metadata: map[string]string{"service": e.service},
	})
}

// locate answers a request for the address ip or, if that is empty, for whoever sent it. Its error is a serviceError
// or has a status of its own.
func (d Door) locate(ctx context.Context, ip, caller string) (*whereamiv1.LocateResponse, error) {
	address, err := addressOf(ip, caller)
	if err != nil {
		return nil, detailed(status.New(codes.InvalidArgument, "ip: "+err.Error()), &errdetails.BadRequest{
			FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "ip", Description: err.Error()}},
		}).Err()
	}
	if d.GeoIP == nil || d.Rng == nil {
		return nil, status.Error(codes.Unimplemented,
			"this client has not got both services: start it with --rng-target and --geoip-target")
	}
	limited, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	answer, err := d.ask(limited, address)
	if err != nil {
		return nil, err
	}
	answer.TraceId = telemetry.TraceOf(ctx)

	return answer, nil
}

// addressOf is the address that a request is about.
func addressOf(ip, caller string) (string, error) {
	if ip == "" {
		from, err := netip.ParseAddrPort(caller)
		if err != nil {
			return "", fmt.Errorf("the caller's own, %q, is not an IP address: give an IPv4 or IPv6 address such as 8.8.8.8", caller)
		}

		return from.Addr().Unmap().WithZone("").String(), nil
	}
	if len(ip) > maxAddressText {
		return "", fmt.Errorf("the text has %d bytes: give an IPv4 or IPv6 address such as 8.8.8.8", len(ip))
	}
	address, err := netip.ParseAddr(ip)
	if err != nil || address.Zone() != "" {
		return "", fmt.Errorf("%q is not an IP address: give an IPv4 or IPv6 address such as 8.8.8.8", ip)
	}

	return address.String(), nil
}

// ask asks both services at once. Its error is a serviceError.
func (d Door) ask(ctx context.Context, address string) (*whereamiv1.LocateResponse, error) {
	var (
		where                   *geoipv1.LookupResponse
		number                  *rngv1.RollResponse
		whereHeader, diceHeader metadata.MD
	)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		request := &geoipv1.LookupRequest{Address: address}
		if where, err = geoipv1.NewGeoipServiceClient(d.GeoIP).Lookup(ctx, request, grpc.Header(&whereHeader)); err != nil {
			return serviceError{service: "geoip", err: err}
		}

		return nil
	})
	group.Go(func() (err error) {
		request := &rngv1.RollRequest{Count: 1}
		if number, err = rngv1.NewRngServiceClient(d.Rng).Roll(ctx, request, grpc.Header(&diceHeader)); err != nil {
			return serviceError{service: "rng", err: err}
		}

		return nil
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	answer := &whereamiv1.LocateResponse{
		Place:    where,
		ServedBy: map[string]string{"geoip": servedby.PodOf(whereHeader), "rng": servedby.PodOf(diceHeader)},
	}
	if v := number.GetValues(); len(v) > 0 {
		answer.Number = v[0]
	}

	return answer, nil
}

// detailed adds a detail to a status. Details are for programs: the message has said it all, should one not fit.
func detailed(st *status.Status, detail protoadapt.MessageV1) *status.Status {
	if with, err := st.WithDetails(detail); err == nil {
		return with
	}

	return st
}
