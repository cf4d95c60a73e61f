package main

import (
	"context"

	"github.com/evenkeel/evenkeel/internal/server"
	geoipv1 "github.com/evenkeel/evenkeel/proto/geoip/v1"
	"github.com/evenkeel/evenkeel/services/geoip/database"
	"github.com/evenkeel/evenkeel/services/geoip/iptoasn"
)

// register adds the service to a server, with the database in the file, or with
// the embedded one for "". What it returns stops watching the file.
func register(ctx context.Context, s *server.Server, path string) (stop func(), err error) {
	svc := &service{logger: s.Logger}
	watch := func(context.Context) {}
	if path == "" {
		db, err := iptoasn.Open()
		if err != nil {
			return nil, err
		}
		svc.current = func() *database.Database { return db }
	} else {
		file, err := database.OpenFile(path)
		if err != nil {
			return nil, err
		}
		svc.current = file.Current
		watch = func(ctx context.Context) { file.Watch(ctx, s.Logger, svc.reloaded) }
	}
	svc.metrics = newMetrics(s.Telemetry.Registry, svc.current)
	svc.logDatabase("database")
	geoipv1.RegisterGeoipServiceServer(s.GRPC, svc)

	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		watch(ctx)
	}()

	return func() {
		cancel()
		<-done
	}, nil
}

// reloaded hears of each attempt to read a changed database file.
func (s *service) reloaded(err error) {
	if err != nil {
		s.metrics.refused.Inc()
		s.logger.Error("database refused, the version before serves on", "error", err, "built", s.current().Built)

		return
	}
	s.metrics.reloaded.Inc()
	s.logDatabase("database reloaded")
}

func (s *service) logDatabase(message string) {
	db := s.current()
	s.logger.Info(message, "type", db.Type, "built", db.Built, "bytes", db.Size, "records", db.Records)
}
