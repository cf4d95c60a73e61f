package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/timestamppb"

	geoipv1 "github.com/evenkeel/evenkeel/proto/geoip/v1"
	"github.com/evenkeel/evenkeel/services/geoip/database"
)

// maxBatch is how many addresses a LookupStreamRequest may have.
const maxBatch = 1000

// service is geoip.v1.GeoipService.
type service struct {
	geoipv1.UnimplementedGeoipServiceServer

	// current is the database to answer from.
	current func() *database.Database
	metrics *metrics
	logger  *slog.Logger
}

// Lookup is GeoipService.Lookup.
func (s *service) Lookup(_ context.Context, req *geoipv1.LookupRequest) (*geoipv1.LookupResponse, error) {
	db := s.current()
	response, miss := s.find(db, describe(db), req.GetAddress())
	if miss != nil {
		return nil, miss.err()
	}

	return response, nil
}

// LookupStream is GeoipService.LookupStream. Each batch is answered from one version
// of the database.
func (s *service) LookupStream(
	stream grpc.BidiStreamingServer[geoipv1.LookupStreamRequest, geoipv1.LookupStreamResponse],
) error {
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		addresses := req.GetAddresses()
		if len(addresses) > maxBatch {
			return badField("addresses", fmt.Sprintf("%d in a batch: give 1 to %d", len(addresses), maxBatch)).err()
		}
		response, err := s.batch(addresses)
		if err != nil {
			return err
		}
		if err := stream.Send(response); err != nil {
			return err
		}
	}
}

func (s *service) batch(addresses []string) (*geoipv1.LookupStreamResponse, error) {
	db := s.current()
	described := describe(db)
	results := make([]*geoipv1.LookupResult, len(addresses))
	for i, address := range addresses {
		found, miss := s.find(db, described, address)
		switch {
		case miss == nil:
			results[i] = &geoipv1.LookupResult{Result: &geoipv1.LookupResult_Found{Found: found}}
		case miss.code == codes.Internal:
			return nil, miss.err() // no fault of the address
		default:
			results[i] = &geoipv1.LookupResult{Result: &geoipv1.LookupResult_Error{Error: &geoipv1.LookupError{
				Address: address, Code: int32(miss.code), Message: miss.message,
			}}}
		}
	}

	return &geoipv1.LookupStreamResponse{Results: results}, nil
}

// miss is why there is no answer.
type miss struct {
	code    codes.Code
	message string
	// detail is of google.rpc: BadRequest, ResourceInfo or none.
	detail protoadapt.MessageV1
}

func badField(field, description string) *miss {
	return &miss{codes.InvalidArgument, field + ": " + description, &errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: field, Description: description}},
	}}
}

func (m *miss) err() error {
	st := status.New(m.code, m.message)
	if m.detail == nil {
		return st.Err()
	}
	detailed, err := st.WithDetails(m.detail)
	if err != nil {
		// The details are for programs; the message has said it all.
		return st.Err()
	}

	return detailed.Err()
}

// find answers for one address, and counts it.
func (s *service) find(
	db *database.Database, described *geoipv1.Database, text string,
) (*geoipv1.LookupResponse, *miss) {
	address, err := parseAddress(text)
	if err != nil {
		s.metrics.invalid.Inc()

		return nil, badField("address", err.Error())
	}
	result, err := db.Lookup(address)
	switch {
	case errors.Is(err, database.ErrNotFound):
		s.metrics.notFound.Inc()
		name := address.String()
		why := fmt.Sprintf("the database %q of %s has no record for %s", db.Type, db.Built.Format(time.DateOnly), name)

		return nil, &miss{codes.NotFound, why, &errdetails.ResourceInfo{
			ResourceType: "IP address", ResourceName: name, Description: why,
		}}
	case err != nil:
		s.metrics.failed.Inc()
		s.logger.Error("the database is damaged", "type", db.Type, "built", db.Built, "error", err)

		return nil, &miss{code: codes.Internal, message: "the database is damaged"}
	}
	s.metrics.found.Inc()

	return answer(address.String(), result, described), nil
}

// answer puts a record into the response's shape. What the record leaves out is
// absent.
func answer(address string, result database.Result, described *geoipv1.Database) *geoipv1.LookupResponse {
	r := result.Record
	response := &geoipv1.LookupResponse{Address: address, Network: result.Network.String(), Database: described}
	if r.CountryCode != "" || r.CountryName != "" {
		response.Country = &geoipv1.Country{IsoCode: r.CountryCode, Name: r.CountryName}
	}
	if r.City != "" || r.Subdivision != "" || r.PostalCode != "" {
		response.City = &geoipv1.City{Name: r.City, Subdivision: r.Subdivision, PostalCode: r.PostalCode}
	}
	if r.Located {
		response.Location = &geoipv1.Location{
			Latitude: r.Latitude, Longitude: r.Longitude,
			AccuracyRadiusKm: r.AccuracyRadiusKm, TimeZone: r.TimeZone,
		}
	}
	if r.ASNumber != 0 || r.ASOrganization != "" {
		response.AutonomousSystem = &geoipv1.AutonomousSystem{Number: r.ASNumber, Organization: r.ASOrganization}
	}

	return response
}

func describe(db *database.Database) *geoipv1.Database {
	return &geoipv1.Database{Type: db.Type, BuildTime: timestamppb.New(db.Built)}
}
